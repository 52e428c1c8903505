"""Test in transformers, without the server, that the shipped checkpoints are as good as their card says.

The figures of the card come from 600 questions through the server. Here a small sample is enough to notice
weights that are broken or don't fit the code.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import model
from ttscaling.evaluation.nano.command import BASELINES
from ttscaling.evaluation.nano.tables import METRICS
from ttscaling.nano_tasks.problems import heldout
from ttscaling.train.nano.network.architecture import load_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.stages.monte_carlo import TorchSampler, drawn_questions
from ttscaling.train.nano.stages.policy import answer_greedily
from ttscaling.train.nano.stages.ranking import rank_candidates, sample_candidates

NANO = Path(model.__file__).parent / "nano"


@pytest.fixture(scope="module")
def encoder() -> NanoEncoder:
    return NanoEncoder(load_tokenizer(NANO / "policy"))


def test_all_shipped_files_together_have_less_than_thirty_megabytes() -> None:
    assert sum(path.stat().st_size for path in NANO.rglob("*")) < 30e6


def test_the_card_and_the_readme_hold_every_figure() -> None:
    card, readme = (NANO / "README.md").read_text(), (NANO.parent.parent / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith(tuple(f"| {name} | " for name in METRICS))]
    assert len(rows) == len(METRICS)
    assert all(row in readme for row in rows)
    differences = [line for line in card.splitlines() if line.startswith("| best_of_8 - ")]
    assert len(differences) == len(BASELINES)


def test_policy_and_critic_share_a_tokenizer() -> None:
    first, second = ((NANO / name / "tokenizer.json").read_text() for name in ("policy", "critic"))
    assert first == second


def test_the_policy_answers_held_out_sheets(encoder: NanoEncoder) -> None:
    questions = list(heldout(90, seed=5))
    texts = answer_greedily(load_checkpoint(NANO / "policy"), encoder, questions)
    right = [
        text.endswith(f"Final answer: {problem.answer}")
        for text, problem in zip(texts, questions, strict=True)
    ]
    assert 0.45 < np.mean(right) < 0.9


def test_the_critic_chooses_better_than_chance_among_candidates(encoder: NanoEncoder) -> None:
    torch.manual_seed(0)
    sampler = TorchSampler(load_checkpoint(NANO / "policy"), encoder, temperature=1.3, seed=3)
    questions = sample_candidates(sampler, list(drawn_questions(90, seed=9)))
    ranking = rank_candidates(load_checkpoint(NANO / "critic"), encoder, questions)
    assert ranking["best_of_8"] > ranking["pass@1"] + 0.05
    assert ranking["gap"] > 0.1
