"""The rows and the ideal of `internvl3 bench critic`. Its systems need engines, so only a run tests them."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.critic.command import OURS, PEERS, question_with_answers, rows, tails
from bench.critic.systems import CHECKPOINT, conversation_texts
from bench.harness.contest import Sample


def sample(system: str, *results: dict[str, Any]) -> Sample:
    return Sample(system, "all", 1, 0, 1.0, 1.0, 1.0, 1.0, list(results))


def ours(computed: int) -> dict[str, Any]:
    policy = {"policy_computed": 900, "policy_prompt": 800, "image_tokens": 720}
    return {"computed": computed, "lengths": [120, 130], **policy}


def test_the_ideal_is_the_shared_beginning_once_and_the_remainder_of_each():
    table = rows(
        [sample(OURS, ours(160)), sample(PEERS[0], {"computed": 250}), sample(PEERS[2], {"computed": 240})],
        [2],
        [[20, 30]],
    )
    by_system = {row["system"]: row for row in table}
    mine = by_system[OURS]
    assert mine["case"] == "Best-of-2" and mine["ideal"] == 100 + 20 + 30
    assert mine["over_ideal"] == pytest.approx(160 / 150) and mine["ratio"] == pytest.approx(240 / 160)
    assert mine["blocks_over_ideal"] == pytest.approx(10 / 64)
    assert by_system[PEERS[0]]["ratio"] is None
    policy = by_system["our policy"]
    assert policy["over_ideal"] == pytest.approx(900 / 800) and policy["image_share"] == 0.9


def test_without_ours_there_are_no_rows():
    assert rows([sample(PEERS[0], {"computed": 250})], [2], [[20, 30]]) == []


def test_prompts_of_different_answers_share_the_question(tmp_path: Path):
    question = question_with_answers(8, tmp_path, 777)
    assert len(set(question["answers"])) == 8 and Path(question["image"]).exists()
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    texts = [prefixes[-1] for prefixes in conversation_texts(tokenizer, question)]
    assert all(text.count("<image>") == 1 and question["text"] in text for text in texts)
    remainders = tails(texts, tokenizer)
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    (shared,) = {length - tail for length, tail in zip(lengths, remainders, strict=True)}
    begun = texts[0][: texts[0].index("### Solution Process:")]
    assert shared >= len(tokenizer.encode(begun, add_special_tokens=False)) and min(remainders) > 0
