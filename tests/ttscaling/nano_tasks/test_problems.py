"""Questions about sheets, their written solutions, slips, and the split of the drawings."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import (
    KINDS,
    Kind,
    SheetQuestion,
    Slip,
    heldout,
    problems,
    random_task,
    solve,
)
from ttscaling.nano_tasks.sheets import Sheet
from ttscaling.steps import split_steps

SHEET = Sheet(((3, 7, 4), (9, 8, 2), (0, 5, 6)))
TWO_SUMS = "Row 2: 9 8 2\n\n9+8=17\n\n17+2=19\n\nRow 3: 0 5 6\n\n0+5=5\n\n5+6=11\n\n"
EXPECTED: dict[Kind, str] = {
    "row sum": "Row 2: 9 8 2\n\n9+8=17\n\n17+2=19\n\nFinal answer: 19",
    "column sum": "Column 2: 7 8 5\n\n7+8=15\n\n15+5=20\n\nFinal answer: 20",
    "extreme": "Row 2: 9 8 2\n\nmax(9,8)=9\n\nmax(9,2)=9\n\nFinal answer: 9",
    "multiply-add": "Row 2: 9 8 2\n\n9*8=72\n\n72+2=74\n\nFinal answer: 74",
    "two rows": TWO_SUMS + "19+11=30\n\nFinal answer: 30",
    "difference": TWO_SUMS + "19-11=8\n\nFinal answer: 8",
}


@pytest.mark.parametrize("kind", KINDS)
def test_written_solutions(kind: Kind) -> None:
    lines = (2, 3) if kind in ("two rows", "difference") else (2,)
    assert solve(SheetQuestion(SHEET, kind, lines)).text == EXPECTED[kind]


@given(st.integers(0, 10_000))
def test_every_operation_of_a_solution_is_right_and_the_answer_is_found(seed: int) -> None:
    solution = solve(random_task(np.random.default_rng(seed)))
    for left, operator, right, result in re.findall(r"(\d+)([-+*])(\d+)=(\d+)", solution.text):
        exact = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}
        assert exact[operator] == int(result)
    assert final_answer(solution.text) == solution.answer
    assert split_steps(solution.text) == solution.steps


def test_a_slip_is_carried_on() -> None:
    slipped = solve(SheetQuestion(SHEET, "row sum", (2,)), {1: Slip(offset=-1)})
    assert slipped.steps == ("Row 2: 9 8 2", "9+8=16", "16+2=18", "Final answer: 18")


def test_a_misreading_and_a_slip_of_the_answer() -> None:
    task = SheetQuestion(SHEET, "extreme", (1,), smallest=True)
    assert solve(task, {0: Slip(position=0, digit=1)}).steps[0] == "Row 1: 1 7 4"
    assert solve(task, {2: Slip(offset=5)}).answer == "4", "the other operand of min(3,4)"
    assert solve(task, {3: Slip(offset=5)}).answer == "8"


def test_the_two_splits_share_no_drawing() -> None:
    train = {drawing.tobytes() for drawing in digit_pool("train").ink_N88}
    held_out = {drawing.tobytes() for drawing in digit_pool("heldout").ink_N88}
    assert len(digit_pool("train").ink_N88) == 1400
    assert len(digit_pool("heldout").ink_N88) == 397
    assert not train & held_out


def test_problems_repeat_with_the_seed_and_take_the_kinds_in_turn() -> None:
    first, again, other = (list(heldout(12, seed)) for seed in (1, 1, 2))
    assert [p.image.tobytes() for p in first] == [p.image.tobytes() for p in again]
    assert [p.answer for p in first] != [p.answer for p in other]
    assert Counter(p.kind for p in first) == dict.fromkeys(KINDS, 2)
    assert [p.answer for p in problems("train", 12, 1)] != [p.answer for p in first]


def test_sheets_come_in_two_sizes() -> None:
    assert {p.image.size for p in heldout(60, 5)} == {(84, 84), (168, 168)}
