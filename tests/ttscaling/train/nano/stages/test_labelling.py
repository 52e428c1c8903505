"""Test the labels of a solution by each scheme, and the critic's losses and scores with them."""

import numpy as np
import pytest
import torch
from PIL import Image

from ttscaling.train.nano.network.architecture import CONTEXT, nano_config, new_model
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import build_tokenizer
from ttscaling.train.nano.stages.critic import (
    UNKNOWN,
    CriticLoss,
    collate_critic,
    encode_exercise,
    score_steps,
)
from ttscaling.train.nano.stages.exercises import CriticExercise, Statement, facts
from ttscaling.train.nano.stages.labelling import Scheme

IMAGE = Image.new("RGB", (84, 84), "white")
WRONG = CriticExercise(
    "What is the sum of row 1?",
    IMAGE,
    (
        Statement("Row 1: 3 7 4", 0.5, "Row 1: 3 7 4"),
        Statement("3+7=10", 0.75, "3+7=10"),
        Statement("10+4=15", 0.0, "10+4=14"),
        Statement("Final answer: 15", 0.0, "Final answer: 14"),
    ),
)
SCHEMES = (
    Scheme(),
    Scheme(early_stop=True),
    Scheme(labelling="advantage"),
    Scheme(labelling="outcome"),
)


@pytest.fixture(scope="module")
def encoder() -> NanoEncoder:
    return NanoEncoder(build_tokenizer(CONTEXT))


@pytest.mark.parametrize(
    ("scheme", "labels"), list(zip(SCHEMES, ("++--", "++-", "++-=", "-"), strict=True)), ids=str
)
def test_labels_of_a_solution(scheme: Scheme, labels: str) -> None:
    statements, found_labels = scheme.labelled_statements(WRONG)
    assert "".join(found_labels) == labels
    assert len(statements) == len(labels)


def test_by_outcome_no_token_of_a_wrong_solution_is_checked(encoder: NanoEncoder) -> None:
    sample = encode_exercise(encoder, WRONG, delta=1.0, scheme=Scheme(labelling="outcome"))
    assert (sample.label_T != UNKNOWN).sum() == 1
    assert (sample.right_T == UNKNOWN).all() and not sample.sample.weight_T.any()


def test_by_outcome_a_right_solution_is_one_statement_with_its_text_as_the_right_text(
    encoder: NanoEncoder,
) -> None:
    right = CriticExercise(
        WRONG.question, IMAGE, tuple(Statement(s.right or "", 1.0, s.right) for s in WRONG.statements)
    )
    ((statement,), (label,)) = Scheme(labelling="outcome").labelled_statements(right)
    assert label == "+"
    assert statement.shown == statement.right == "Row 1: 3 7 4\n\n3+7=10\n\n10+4=14\n\nFinal answer: 14"


def test_all_schemes_give_single_statements_the_same_labels() -> None:
    exercise = facts(np.random.default_rng(0))
    expected = Scheme().labelled_statements(exercise)
    assert {"+", "-"} == set(expected[1])
    assert all(scheme.labelled_statements(exercise) == expected for scheme in SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_every_scheme_gives_a_loss_and_a_score_for_each_judgement(
    scheme: Scheme, encoder: NanoEncoder
) -> None:
    model = new_model(nano_config(encoder.tokenizer, num_layers=1), seed=0).eval()
    batch = collate_critic([encode_exercise(encoder, WRONG, delta=1.0, scheme=scheme)] * 2)
    loss, figures = CriticLoss(model, encoder, scheme)(batch)
    assert torch.isfinite(loss) and figures["judge"] > 0
    steps = [statement.shown for statement in WRONG.statements]
    (scores,) = score_steps(
        model, encoder, [scheme.conversation(WRONG.question, IMAGE, steps)], scheme=scheme
    )
    assert len(scores) == (1 if scheme.labelling == "outcome" else 4)
    assert all(0 <= score <= 1 for score in scores)
