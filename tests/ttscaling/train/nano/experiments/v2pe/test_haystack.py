"""Test the encoder that puts a sheet among blank pages or frames."""

from pathlib import Path

import numpy as np
import pytest

import model
from model.v2pe import TRAINED_DELTAS, next_position, positions
from ttscaling.nano_tasks.problems import Problem, problems
from ttscaling.train.nano.experiments.v2pe.haystack import ANSWER_ROOM, Haystack, HaystackEncoder, Medium
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.stages.policy import SHORT_KINDS
from ttscaling.train.samples.sample import Sample

POLICY = Path(model.__file__).parent / "nano" / "policy"
LENGTH = 384


@pytest.fixture(scope="module")
def questions() -> list[Problem]:
    return [problem for problem in problems("train", 36, 3) if problem.kind in SHORT_KINDS]


def haystack_encoder(*deltas: float, length: int = LENGTH, medium: Medium = "images", full: bool = True):
    haystack = Haystack(length=length, full=full, media=(medium,), small=0.3)
    return HaystackEncoder(load_tokenizer(POLICY), haystack, deltas=deltas, seed=1)


def tiles(sample: Sample) -> np.ndarray:
    assert sample.tiles_NHWC is not None
    return sample.tiles_NHWC


@pytest.mark.parametrize("medium", ["images", "video"])
def test_pages_fill_the_length_and_no_more(questions: list[Problem], medium: Medium) -> None:
    """There is no room for another page. Each page is one run of visual tokens with the encoder's delta."""
    pages_encoder = haystack_encoder(0.25, medium=medium)
    for problem in questions:
        prompt = pages_encoder.prompt(problem.question, problem.image, delta=1.0)
        assert LENGTH - ANSWER_ROOM - 50 < prompt.num_tokens <= LENGTH - ANSWER_ROOM
        visual_T = prompt.ids_T == pages_encoder.image_token
        runs = int((np.diff(visual_T.astype(int)) == 1).sum())
        assert prompt.deltas == (0.25,) * runs and runs > 3
        assert visual_T.sum() == 9 * prompt.num_tiles
        assert ("Frame2: <img>" in pages_encoder.tokenizer.decode(prompt.ids_T)) == (medium == "video")


def test_the_sheet_stands_at_any_index_and_all_deltas_get_the_same_pages(questions: list[Problem]) -> None:
    """The sheet is found by its ink, which is darker than any paper."""
    first, other = (
        [pages_encoder.prompt(problem.question, problem.image, delta=1.0) for problem in questions]
        for pages_encoder in (haystack_encoder(1.0), haystack_encoder(1 / 256))
    )
    for one, two in zip(first, other, strict=True):
        assert np.array_equal(one.ids_T, two.ids_T) and np.array_equal(tiles(one), tiles(two))
    sheet_indices = {int((tiles(prompt).min(axis=(1, 2, 3)) < 120).argmax()) for prompt in first}
    assert len(sheet_indices) > 3


def test_a_smaller_delta_takes_fewer_positions(questions: list[Problem]) -> None:
    """An input of eight times the trained length stays near the trained positions."""

    def highest(delta: float, length: int) -> int:
        pages_encoder = haystack_encoder(delta, length=length)
        prompts = [pages_encoder.prompt(problem.question, problem.image, delta=1.0) for problem in questions]
        return max(next_position(positions(p.ids_T == pages_encoder.image_token, delta)) for p in prompts)

    assert highest(1 / 256, 1024) < 160 < 900 < highest(1.0, 1024)


def test_with_no_room_it_is_the_ordinary_encoder(questions: list[Problem]) -> None:
    """So a policy without V2PE gets the samples of the chain, except for the delta."""
    without_pages, plain = haystack_encoder(1.0, length=0, full=False), NanoEncoder(load_tokenizer(POLICY))
    for problem in questions:
        ours = without_pages.answered(problem.question, "Final answer: 3", problem.image, delta=0.5)
        theirs = plain.answered(problem.question, "Final answer: 3", problem.image, delta=1.0)
        assert np.array_equal(ours.ids_T, theirs.ids_T) and np.array_equal(ours.weight_T, theirs.weight_T)
        assert np.array_equal(tiles(ours), tiles(theirs)) and ours.deltas == theirs.deltas == (1.0,)


def test_in_training_every_page_draws_its_delta(questions: list[Problem]) -> None:
    pages_encoder = haystack_encoder(*TRAINED_DELTAS, full=False)
    samples = [pages_encoder.answered(p.question, p.answer, p.image, delta=1.0) for p in questions]
    assert any(len(set(sample.deltas)) > 1 for sample in samples)
    assert len({len(sample.deltas) for sample in samples}) > 2  # a random part of the room
    assert pages_encoder.answered("Why?", "So.", None, delta=1.0).deltas == ()
