"""math-verify in its process accepts equal formulas and survives hostile ones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("math_verify", reason="math-verify is not installed: make setup")

from ttscaling.answers.grading import is_right
from ttscaling.answers.math_verifier import MathVerifier


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier(seconds=30.0) as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("\\sqrt{8}", "2\\sqrt{2}"),
        ("(x+1)^2", "x^2+2x+1"),
        ("\\{2, 1\\}", "\\{1, 2\\}"),
        ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"),
    ],
)
def test_equal_formulas_in_different_notation(verifier: MathVerifier, answer: str, known: str) -> None:
    assert is_right(answer, known, verifier=verifier)
    assert not is_right(answer, known)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("\\sqrt{8}", "2\\sqrt{3}"),
        ("(1, 2)", "(2, 1)"),
        ("x + 1", "x + 2"),
        ("silent", "listen"),
        ("Jonh Fitzgerald", "John Fitzgerald"),
        ("", "7"),
        ("\\frac{", "\\frac{1}{2}"),
        ("__import__('os').getpid()", "1"),
    ],
)
def test_different(verifier: MathVerifier, answer: str, known: str) -> None:
    assert not verifier.same(answer, known)


@pytest.mark.parametrize("hostile", ["9^{9^{9^{9}}}", "99999999!"])
def test_a_hostile_formula_costs_its_seconds_and_nothing_else(hostile: str) -> None:
    with MathVerifier(seconds=5.0) as verifier:
        assert not verifier.same(hostile, "5")
        assert verifier.same("\\sqrt{8}", "2\\sqrt{2}")  # a new process does this


@pytest.mark.parametrize(("answer", "known"), [("5 km", "5 m"), ("x=3", "y=3"), ("(A) and (C)", "(A)")])
def test_what_math_verify_drops_still_counts(verifier: MathVerifier, answer: str, known: str) -> None:
    assert not is_right(answer, known, mode="math", verifier=verifier)


def test_long_formulas_are_not_read(verifier: MathVerifier) -> None:
    assert not verifier.same("1+" * 50_000 + "1", "50001")


def test_threads_share_one(verifier: MathVerifier) -> None:
    pairs = [(f"\\sqrt{{{n * n}}}", str(n + n % 2)) for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda pair: verifier.same(*pair), pairs))
    assert verdicts == [n % 2 == 0 for n in range(1, 9)]
