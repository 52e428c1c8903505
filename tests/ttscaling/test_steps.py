import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.steps import split_steps

TEXTS = st.text(alphabet="ab \n")


def test_paragraphs_are_steps_verbatim() -> None:
    assert split_steps("Row 1: 3, 4.\n\n 3 + 4 = 7.\nSo 7.\n\nFinal answer: 7") == (
        "Row 1: 3, 4.",
        " 3 + 4 = 7.\nSo 7.",
        "Final answer: 7",
    )


def test_blank_paragraphs_are_dropped() -> None:
    assert split_steps("a\n\n\n\nb\n\n  \n\n") == ("a", "b")


@pytest.mark.parametrize("blank", ["", "\n\n", "  "])
def test_a_blank_answer_is_one_step(blank: str) -> None:
    assert split_steps(blank) == (blank,)


def test_merging_groups_neighbours_as_published() -> None:
    text = "\n\n".join("abcdefg")
    assert split_steps(text, max_steps=3) == ("a\n\nb\n\nc", "d\n\ne\n\nf", "g")
    assert split_steps(text, max_steps=6) == ("a\n\nb", "c\n\nd", "e\n\nf", "g")
    assert split_steps(text, max_steps=7) == tuple("abcdefg")


def test_max_steps_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        split_steps("a", max_steps=0)


@given(TEXTS, st.integers(1, 9))
def test_merging_only_joins(text: str, max_steps: int) -> None:
    merged = split_steps(text, max_steps=max_steps)
    assert 1 <= len(merged) <= max_steps
    assert "\n\n".join(merged) == "\n\n".join(split_steps(text))


@given(TEXTS)
def test_no_step_is_blank_unless_the_answer_is(text: str) -> None:
    steps = split_steps(text)
    assert all(step.strip() for step in steps) or steps == (text,)
    assert "".join("".join(steps).split()) == "".join(text.split())
