"""Structured outputs, several answers, prefix caching and log-probabilities work on prompts with images."""

import json
import re
from math import exp
from pathlib import Path
from typing import Any

import pytest

from tests.model.engine_series import engine, question, run_series

pytestmark = pytest.mark.engine

PATTERN = "[a-c]{3}[0-9]{2}"
SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 99}, "sure": {"type": "boolean"}},
    "required": ["count", "sure"],
    "additionalProperties": False,
}
STOP = {"ignore_eos": False, "max_tokens": 60}


@pytest.fixture(scope="module")
def answers(
    opengvlab_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]
) -> list[list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("structured")
    # Without this option the grammar allows endless blanks, which a random model may write.
    grammar = {"backend": "xgrammar", "disable_any_whitespace": True}
    sampled = STOP | {"n": 3, "temperature": 1.0, "seed": 1}
    requests = [
        question(folder, 0, delta=1 / 16, sampling=STOP, structured={"choice": ["yes", "no"]}),
        question(folder, 0, delta=1 / 16, sampling=sampled, structured={"regex": PATTERN}),
        question(folder, 0, delta=1 / 16, sampling=STOP, structured={"json": SCHEMA}),
        question(folder, 0, delta=1 / 4, sampling=STOP, structured={"choice": ["yes", "no"]}),
        question(folder, 0, delta=1 / 16, sampling={"n": 2, "temperature": 1.0, "seed": 1, "logprobs": 5}),
    ]
    one = engine(
        "one", opengvlab_checkpoint, requests, enable_prefix_caching=True, structured_outputs_config=grammar
    )
    return run_series([one], folder, engine_env)[0]["one"]["answers"]


def test_a_choice(answers: list[list[dict[str, Any]]]):
    assert [completion["text"] for completion in answers[0]] in (["yes"], ["no"])


def test_a_pattern_holds_for_each_of_several_answers(answers: list[list[dict[str, Any]]]):
    texts = [completion["text"] for completion in answers[1]]
    assert len(texts) == 3
    assert len(set(texts)) > 1
    assert all(re.fullmatch(PATTERN, text) for text in texts)


def test_a_schema(answers: list[list[dict[str, Any]]]):
    answer = json.loads(answers[2][0]["text"])
    assert answer.keys() == {"count", "sure"}
    assert answer["count"] in range(100)
    assert answer["sure"] in (True, False)


def test_a_repeated_prompt_is_cached_unless_its_delta_changes(
    answers: list[list[dict[str, Any]]],
):
    assert answers[0][0]["cached"] == 0
    assert answers[2][0]["cached"] >= 32
    assert answers[3][0]["cached"] == 0


def test_logprobs_of_every_token(answers: list[list[dict[str, Any]]]):
    assert len(answers[4]) == 2
    for completion in answers[4]:
        assert len(completion["logprobs"]) == len(completion["tokens"]) == 12
        for token, logprobs in zip(completion["tokens"], completion["logprobs"], strict=True):
            assert len(logprobs) >= 5
            assert 0 < exp(logprobs[str(token)]) <= 1
            assert sum(map(exp, logprobs.values())) <= 1 + 1e-4
