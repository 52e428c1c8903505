"""No text makes the event loop wait: reading takes time in proportion to the length, whatever is repeated.

A function of quadratic time would take many minutes for these texts of 100,000 characters, and an expression
that backtracks would never end on the short ones.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttscaling.answers.final_answer import final_answer, same_answer
from ttscaling.answers.normal_form import normal_form

LENGTH = 100_000
PIECES = [
    "\\boxed{", "\\boxed{1}", "\\boxed 5 ", "answer: ", "Final answer: ", "the answer is ",
    "answer to the ", "{",
    "\n", " ", "*", "**", "答案：", "故选", "选A",
    "option A is ", "the area of a is ", " because ", "so ", "# ",
    "```\n", "$$\n", "\\[\n", "- ", "_", "<answer>", "</think>", "1. ", "A. ", "(A) ", "A, ", "\\frac{",
    "\\frac{1}{",
    "\\text{", "\\", "x=", "1 ", "1/", "cm ", "(", "\\left", "^", "$", "%", "about ", "=", "\\sqrt",
    "\\sin", "【",
    "答：", "①", "½", "²", "'", '"', "~", "，", "9,", "9" * 30 + "e", "}",
    "answer is not A but ", "the area of a is 1+", "(1+", "(mod ", "seven ", "一", "1 h ", "a.m. ",
    "Result: ", "v_{", "f^{(", "2^", "|", "\\boxed{5} or ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_repeated_piece(piece: str) -> None:
    text = (piece * LENGTH)[:LENGTH]
    answer = final_answer(f"{text}\nB")
    assert answer is None or same_answer(answer, answer)
    assert normal_form(text) == normal_form(f" {text}\n")
    short = text[:999]
    assert normal_form(short) == normal_form(f" {short}\n")


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), st.integers(1, 999))
def test_mixed_pieces(pieces: list[str], cut: int) -> None:
    period = "".join(pieces)
    text = (period * (LENGTH // len(period) + 1))[: LENGTH - cut]
    answer = final_answer(text)
    assert answer is None or same_answer(answer, answer)
    assert normal_form(text[:cut]) == normal_form(f" {text[:cut]}\n")


def test_a_number_is_bounded() -> None:
    """The value of 9^(9^9) or of a number with a million digits would take for ever."""
    for hostile in ("9^{9^{9^9}}", "9^9^9", "10^{999999}", "1e9999", "9" * 999):
        assert not same_answer(hostile, "1")
    assert re.search(r"\d", str(normal_form("2^{4000}")))
