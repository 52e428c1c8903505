from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.answers.normal_form import normal_form, number


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,234.50", "1234.5"),
        ("−7", "-7"),
        ("１２", "12"),
        ("3/4", "3/4"),
        ("\\frac{3}{4}", "3/4"),
        ("$-\\dfrac{3}{4}$", "-3/4"),
        ("\\tfrac12", "1/2"),
        ("50%", "1/2"),
        ("50\\%", "1/2"),
        ("12.5 percent", "1/8"),
        ("1.5e3", "1500"),
        ("1.5 \\times 10^{3}", "1500"),
        ("2×10^-2", "1/50"),
        ("x = 3", "3"),
        ("30°", "30"),
        ("\\(42\\)", "42"),
        ("**42**.", "42"),
        ("1 1/2", "3/2"),
        ("2\\frac{1}{3}", "7/3"),
        ("0.1\\overline{6}", "1/6"),
        ("5 million", "5000000"),
        ("2^{10}", "1024"),
        ("(-5)", "-5"),
    ],
)
def test_numbers_are_their_value(written: str, value: str) -> None:
    assert normal_form(written) == Fraction(value) == number(written)


@pytest.mark.parametrize(
    ("written", "value", "detail"),
    [
        ("$1,234", "1234", "$"),
        ("-\\$3", "-3", "$"),
        ("7 cm", "7", "cm"),
        ("7\\text{ cm}^2", "7", "cm^2"),
        ("7 \\mathrm{m}/\\mathrm{s}", "7", "m/s"),
        ("7 m s^{-2}", "7", "m/s^2"),
        ("12 square feet", "12", "ft^2"),
        ("3 N·m", "3", "N*m"),
        ("n = 3", "3", "n = "),
        ("n = 3 cm", "3", "n = cm"),
    ],
)
def test_units_and_names_belong_to_the_form(written: str, value: str, detail: str) -> None:
    assert normal_form(written) == (Fraction(value), detail)
    assert number(written) == Fraction(value)


@pytest.mark.parametrize(
    "written", ["(B)", "B", "option b", "(b).", "B)", "B: the red one", "(B) 12 cm", "\\text{B}"]
)
def test_options_are_their_letter(written: str) -> None:
    assert normal_form(written) == "B"


@pytest.mark.parametrize(("written", "letter"), [("a", "a"), ("\\mathrm{e}", "e"), ("b.", "b"), ("E", "E")])
def test_a_bare_letter_keeps_its_case(written: str, letter: str) -> None:
    """e and a may be numbers and lengths, while E and A are options or areas."""
    assert normal_form(written) == letter


@pytest.mark.parametrize(
    "written", ["3 and 4", "3, 4", "1/0", "1,23", "12 apples", "1e9999", "9" * 31, "7:30", "1.2.3", "", "x"]
)
def test_these_are_no_numbers(written: str) -> None:
    assert number(written) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("(1, 2)", "\\left( 1,\\,2 \\right)"),
        ("x^2 + 1", "$x^2+1$"),
        ("\\text{Paris}", "paris."),
        ("Yes", "**yes**"),
        ("2\\sqrt{3}", "$2 \\sqrt{3}$"),
    ],
)
def test_texts_are_compared_without_markup(left: str, right: str) -> None:
    assert normal_form(left) == normal_form(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5 Ns", "5 N"),
        ("100~200", "100200"),
        ("\\begin{matrix}1&2\\\\3&4\\end{matrix}", "\\begin{matrix}1&23&4\\end{matrix}"),
        ("(i) 3", "(i) 5"),
        ("(a) 12", "(a) 14"),
        ("A - b", "A - c"),
        ("E, sin x", "E, cos x"),
        ("A (3, 4)", "A (5, 6)"),
        ("2\\cdot\\frac{1}{2}", "2\\frac{1}{2}"),
        ("x-(y-z)", "x-y-z"),
        ("6/4/2020", "3/2/2020"),
        ("a cat", "acat"),
        ("row 1", "row 2"),
        ("x^2", "x2"),
        ("Ann", "A"),
        ("a dog", "A"),
        ("1,2", "12"),
        ("J. S", "J"),
    ],
)
def test_different_texts_stay_different(left: str, right: str) -> None:
    assert normal_form(left) != normal_form(right)


@given(st.integers(-(10**12), 10**12))
def test_grouping_digits_keeps_the_value(value: int) -> None:
    assert normal_form(f"{value:,}") == normal_form(str(value)) == normal_form(f"${value}.0$") == value


@given(st.fractions(max_denominator=10**6).filter(lambda value: abs(value) < 10**9))
def test_ways_to_write_a_fraction(value: Fraction) -> None:
    sign = "-" if value < 0 else ""
    above, below = abs(value.numerator), value.denominator
    assert (
        normal_form(f"{sign}{above}/{below}") == normal_form(f"{sign}\\frac{{{above}}}{{{below}}}") == value
    )


@given(st.text(alphabet="\\frac{}^_$%(),.=0123 eEabtimes*-/°cm", max_size=80))
def test_anything_has_a_form(text: str) -> None:
    assert isinstance(normal_form(text), str | Fraction)


@pytest.mark.parametrize(
    "unit",
    ["9,", "9" * 30 + "e", "{", "\\frac{", "\\text{", "\\", " ", "x=", "$", "1/", "cm ", "(", "\\left"],
)
@pytest.mark.parametrize("length", [999, 100_000])
def test_hostile_answers_take_no_time(unit: str, length: int) -> None:
    """An expression that backtracks would hang on the shorter text, a quadratic one on the longer."""
    text = (unit * length)[:length]
    assert normal_form(text) == normal_form(f" {text}\n"[: length + 2])
