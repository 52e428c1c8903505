import pytest

from ttscaling.answers.grading import Mode
from ttscaling.asking.graders import grader, stated_answer
from ttscaling.console import CommandError


def test_each_mode_compares_as_published() -> None:
    """Each mode is tried on two equal formulas, numbers within 5 %, nearly equal texts, and no answer."""
    formula, near, text = (
        ("$\\sqrt{8}$", "$2\\sqrt{2}$"),
        ("103", "100"),
        ("Jonh Fitzgerald", "John Fitzgerald"),
    )
    verdicts = {}
    modes: tuple[Mode, ...] = ("exact", "relaxed", "math")
    for mode in modes:
        with grader(mode) as grade:
            verdicts[mode] = [grade(*pair) for pair in (formula, near, text)]
            assert grade("7", "7.0") and not grade(None, "7")
    assert verdicts == {
        "exact": [False, False, False],
        "relaxed": [False, True, False],
        "math": [True, False, False],
    }
    with grader("anls") as grade:
        assert not grade(*text) and grade("John F. Fitzgerald II", "John F Fitzgerald II")


def test_without_math_verify_the_error_names_another_grading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandError, match="--grading"), grader("math"):
        pass


def test_the_last_line_of_an_answer_that_was_cut_off_is_no_answer() -> None:
    """18 may be the beginning of 18 + 3. A labelled answer counts all the same."""

    def stated(text: str | None, finish_reason: str) -> str | None:
        return stated_answer({"message": {"content": text}, "finish_reason": finish_reason})

    assert stated("I add the rows.\n\n18", "stop") == "18"
    assert stated("I add the rows.\n\n18", "length") is None
    assert stated("Final answer: 18", "length") == "18"
    assert stated(None, "length") is None
