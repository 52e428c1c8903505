import pytest

from ttscaling.answers.grading import Mode
from ttscaling.asking.graders import grader
from ttscaling.console import CommandError


def test_each_mode_compares_as_published() -> None:
    """Formulas that are the same mathematically, numbers within 5 %, texts that nearly agree, and nothing."""
    formula, near, text = (
        ("$\\sqrt{8}$", "$2\\sqrt{2}$"),
        ("103", "100"),
        ("Jonh Fitzgerald", "John Fitzgerald"),
    )
    verdicts = {}
    modes: tuple[Mode, ...] = ("exact", "relaxed", "math")
    for mode in modes:
        with grader(mode) as judge:
            verdicts[mode] = [judge(*pair) for pair in (formula, near, text)]
            assert judge("7", "7.0") and not judge(None, "7")
    assert verdicts == {
        "exact": [False, False, False],
        "relaxed": [False, True, False],
        "math": [True, False, False],
    }
    with grader("anls") as judge:
        assert not judge(*text) and judge("John F. Fitzgerald II", "John F Fitzgerald II")


def test_without_math_verify_another_grading_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandError, match="--grading"), grader("math"):
        pass
