"""Preference pairs from solutions and verdicts, as MMPR's pipeline makes them."""

import numpy as np
import pytest

from ttscaling.records.pairs import PairRecord, pair_json, parse_pair
from ttscaling.records.questions import Question
from ttscaling.train.rollouts.pairing import (
    Solution,
    correctness_pairs,
    dropout_beginning,
    dropout_pair,
    dropout_question,
    format_pairs,
)

QUESTION = Question(text="<image>\nWhat is it?", answer="red", images=("a.png",))


def solution(text: str, answer: str | None, *, right: bool = False) -> Solution:
    return Solution(text=text, answer=answer, right=right)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_right_is_preferred_to_wrong() -> None:
    solutions = [solution("It is blue", "blue"), solution("It is red", "red", right=True)]
    (pair,) = correctness_pairs(QUESTION, solutions, rng())
    assert pair == PairRecord(
        question="<image>\nWhat is it?",
        chosen="It is red",
        rejected="It is blue",
        images=("a.png",),
        answer="red",
    )
    assert parse_pair(pair_json(pair)) == pair


def test_without_right_or_without_wrong_there_is_no_pair() -> None:
    wrong, right = solution("blue", "blue"), solution("red", "red", right=True)
    assert correctness_pairs(QUESTION, [wrong, wrong], rng()) == []
    assert correctness_pairs(QUESTION, [right, right], rng()) == []


def test_the_limit_is_drawn_from_all_combinations_without_repetition() -> None:
    right = [solution(f"r{number}", "red", right=True) for number in range(8)]
    wrong = [solution(f"w{number}", "blue") for number in range(8)]
    pairs = correctness_pairs(QUESTION, [*right, *wrong], rng())
    assert len({(pair.chosen, pair.rejected) for pair in pairs}) == 15
    assert len({pair.chosen for pair in pairs}) > 2  # The first right solution isn't in all pairs.
    assert pairs == correctness_pairs(QUESTION, [*right, *wrong], rng())
    assert len(correctness_pairs(QUESTION, [*right, *wrong], rng(), limit=64)) == 64


def test_equal_texts_make_one_pair() -> None:
    solutions = [solution("red", "red", right=True)] * 3 + [solution("blue", "blue")] * 3
    assert len(correctness_pairs(QUESTION, solutions, rng())) == 1


@pytest.mark.parametrize(
    ("right", "wrong", "pairs"),
    [("red", "Dark Red", 0), ("7", "7 apples", 0), ("7", "17", 1), ("7", "7.5", 1), ("red", "blue", 1)],
)
def test_no_pair_where_the_verdict_may_be_too_strict(right: str, wrong: str, pairs: int) -> None:
    solutions = [solution("a", right, right=True), solution("b", wrong)]
    assert len(correctness_pairs(QUESTION, solutions, rng())) == pairs


def test_missing_answers_are_pairs_of_their_own() -> None:
    solutions = [
        solution("red", "red", right=True),
        solution("blue", "blue"),
        solution("It goes on and", None),
        solution(" ", None),  # A model can't learn from a blank text.
    ]
    assert [pair.rejected for pair in correctness_pairs(QUESTION, solutions, rng())] == ["blue"]
    assert [pair.rejected for pair in format_pairs(QUESTION, solutions, rng())] == ["It goes on and"]


def test_dropout_continues_the_first_half_of_the_words() -> None:
    assert dropout_beginning("one two three four five") == "one two"
    assert dropout_beginning("Step 1\n\nStep 2: so") == "Step 1\n\nStep"
    assert dropout_beginning("one two three four", share=0.75) == "one two three"
    assert dropout_beginning("red") == ""


@pytest.mark.parametrize(
    "text",
    [
        "<image>\nWhat is it?",
        "What is it?<image>",
        "Image-1: <image>\nImage-2: <image>\nWhat is it?",
        "<video>\nWhat is it?",
    ],
)
def test_dropout_asks_without_the_images(text: str) -> None:
    assert dropout_question(Question(text=text, answer="red", images=("a.png",))) == "What is it?"


def test_what_was_written_blindly_is_rejected() -> None:
    pair = dropout_pair(QUESTION, "It is red", "It is a house")
    assert pair is not None
    assert (pair.chosen, pair.rejected, pair.images) == ("It is red", "It is a house", ("a.png",))
    assert dropout_pair(QUESTION, "It is red", "It is red\n") is None
    assert dropout_pair(Question(text="1+1?", answer="2"), "It is 2", "It is 3") is None
