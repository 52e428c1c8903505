"""A critic's conversation becomes a sample with its labels, and the text of right steps, as targets."""

from pathlib import Path

import numpy as np
import pytest

from tests.ttscaling.train.data.material import data_set, preparation
from tests.ttscaling.train.samples.test_chat_samples import decoded, rng, supervised
from tests.ttscaling.train.samples.test_media_tiles import write_clip
from ttscaling.train.samples.critic_chats import CriticRecord
from ttscaling.train.samples.critic_samples import critic_sample

RECORD = CriticRecord(
    question="1+1?", steps=("one", "is two", "three"), labels=("+", "-", "+"), images=("square.png",)
)


def test_a_critic_sees_the_video_of_its_question(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", levels=[0, 60, 120, 180])
    folder = data_set(tmp_path)
    record = CriticRecord(question="<video>\nWhat?", steps=("A cat.",), labels=("-",), video="clip.mp4")
    sample = critic_sample(record, folder, preparation(frames=(3, 3)), rng())
    assert sample.num_tiles == 3
    assert "### Question:\nFrame-1: <img>" in decoded(sample.ids_T)
    assert supervised(sample) == "-"


def test_a_critic_learns_its_judgements_only(tmp_path: Path) -> None:
    record = CriticRecord(
        question="1+1?", steps=("a", "b", "c"), labels=("+", "-", "="), images=("square.png",)
    )
    sample = critic_sample(record, data_set(tmp_path), preparation(), rng())
    assert supervised(sample) == "+-="
    for position in np.flatnonzero(sample.weight_T):
        assert decoded(sample.ids_T[: position + 1]).endswith("<|im_start|>assistant\n")
    np.testing.assert_array_equal(sample.slot_T, sample.weight_T > 0)
    text = decoded(sample.ids_T)
    assert "### Question:\n<img>" in text
    assert text.count("assistant\n+<|im_end|>") == 2, "earlier judgements stand as the read-out shows them"
    labelled = critic_sample(record, data_set(tmp_path), preparation(), rng(), history="labels")
    assert "assistant\n-<|im_end|>" in decoded(labelled.ids_T)
    assert supervised(labelled) == "+-="


def test_the_text_of_right_steps_is_learnt_with_a_weight_of_its_own(tmp_path: Path) -> None:
    """The question isn't learnt, nor a step labelled `-`, and the labels keep their places and weights."""
    alone, with_text = (
        critic_sample(RECORD, data_set(tmp_path), preparation(), rng(), text_weight=weight)
        for weight in (0.0, 0.5)
    )
    assert supervised(with_text) == "one<|im_end|>+-three<|im_end|>+"
    text_T = (with_text.weight_T > 0) & ~with_text.slot_T
    positions = np.flatnonzero(text_T)
    np.testing.assert_array_equal(with_text.target_T[positions], with_text.ids_T[positions + 1])
    np.testing.assert_array_equal(with_text.slot_T, alone.slot_T)
    np.testing.assert_array_equal(with_text.weight_T[with_text.slot_T], alone.weight_T[alone.slot_T])
    assert with_text.weight_T[text_T] == pytest.approx(0.5 / 3**0.5)


def test_the_critics_system_message_begins_the_conversation(tmp_path: Path) -> None:
    """It stands in place of the checkpoint's own, once."""
    encoder = preparation().encoder
    encoder.system = "Judge each step."
    sample = critic_sample(RECORD, data_set(tmp_path), preparation(encoder=encoder), rng())
    assert decoded(sample.ids_T).startswith(
        "<|im_start|>system\nJudge each step.<|im_end|>\n<|im_start|>user"
    )
    assert decoded(sample.ids_T).count("<|im_start|>system") == 1
