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
def asked() -> list[Problem]:
    return [problem for problem in problems("train", 36, 3) if problem.kind in SHORT_KINDS]


def encoder(*deltas: float, length: int = LENGTH, medium: Medium = "images", full: bool = True):
    haystack = Haystack(length=length, full=full, media=(medium,), small=0.3)
    return HaystackEncoder(load_tokenizer(POLICY), haystack, deltas=deltas, seed=1)


def tiles(sample: Sample) -> np.ndarray:
    assert sample.tiles_NHWC is not None
    return sample.tiles_NHWC


@pytest.mark.parametrize("medium", ["images", "video"])
def test_pages_fill_the_length_and_no_more(asked: list[Problem], medium: Medium) -> None:
    """Within a page of it, and each page is a run of its own with the delta asked for."""
    made = encoder(0.25, medium=medium)
    for problem in asked:
        prompt = made.prompt(problem.question, problem.image, delta=1.0)
        assert LENGTH - ANSWER_ROOM - 50 < prompt.num_tokens <= LENGTH - ANSWER_ROOM
        visual_T = prompt.ids_T == made.image_token
        runs = int((np.diff(visual_T.astype(int)) == 1).sum())
        assert prompt.deltas == (0.25,) * runs and runs > 3
        assert visual_T.sum() == 9 * prompt.num_tiles
        assert ("Frame2: <img>" in made.tokenizer.decode(prompt.ids_T)) == (medium == "video")


def test_the_sheet_stands_anywhere_and_rows_see_the_same_pages(asked: list[Problem]) -> None:
    """The sheet's ink is darker than any paper."""
    first, other = (
        [made.prompt(problem.question, problem.image, delta=1.0) for problem in asked]
        for made in (encoder(1.0), encoder(1 / 256))
    )
    for one, two in zip(first, other, strict=True):
        assert np.array_equal(one.ids_T, two.ids_T) and np.array_equal(tiles(one), tiles(two))
    places = {int((tiles(prompt).min(axis=(1, 2, 3)) < 120).argmax()) for prompt in first}
    assert len(places) > 3


def test_a_smaller_delta_takes_fewer_positions(asked: list[Problem]) -> None:
    """Eight times the length within the positions of one."""

    def highest(delta: float, length: int) -> int:
        made = encoder(delta, length=length)
        prompts = [made.prompt(problem.question, problem.image, delta=1.0) for problem in asked]
        return max(next_position(positions(p.ids_T == made.image_token, delta)) for p in prompts)

    assert highest(1 / 256, 1024) < 160 < 900 < highest(1.0, 1024)


def test_with_no_room_it_is_the_ordinary_encoder(asked: list[Problem]) -> None:
    """So that a policy without V2PE sees the chain's very samples, but for the delta."""
    alone, plain = encoder(1.0, length=0, full=False), NanoEncoder(load_tokenizer(POLICY))
    for problem in asked:
        ours = alone.answered(problem.question, "Final answer: 3", problem.image, delta=0.5)
        theirs = plain.answered(problem.question, "Final answer: 3", problem.image, delta=1.0)
        assert np.array_equal(ours.ids_T, theirs.ids_T) and np.array_equal(ours.weight_T, theirs.weight_T)
        assert np.array_equal(tiles(ours), tiles(theirs)) and ours.deltas == theirs.deltas == (1.0,)


def test_in_training_every_page_draws_its_delta(asked: list[Problem]) -> None:
    made = encoder(*TRAINED_DELTAS, full=False)
    samples = [made.answered(p.question, p.answer, p.image, delta=1.0) for p in asked]
    assert any(len(set(sample.deltas)) > 1 for sample in samples)
    assert len({len(sample.deltas) for sample in samples}) > 2  # a random part of the room
    assert made.answered("Why?", "So.", None, delta=1.0).deltas == ()
