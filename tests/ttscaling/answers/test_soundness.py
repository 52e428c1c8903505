"""Answers with one form have one value, an equivalence holds, and every way to state an answer is read."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ttscaling.answers.final_answer import final_answer, same_answer
from ttscaling.answers.normal_form import normal_form, number

POINTS = ({"x": 1.37, "y": 2.11, "a": 0.73}, {"x": 2.93, "y": 0.57, "a": 1.91})


class Formula(NamedTuple):
    """One notation of a formula, and its value for given variables, by its tree and not by its text."""

    latex: str
    value: Callable[[dict[str, float]], float]
    atom: bool  # may be a factor without parentheses


def _number(digits: int) -> Formula:
    return Formula(str(digits), lambda _: float(digits), atom=False)


def _variable(name: str) -> Formula:
    return Formula(name, lambda point: point[name], atom=True)


def _fraction(style: str, above: Formula, below: Formula) -> Formula:
    def value(point: dict[str, float]) -> float:
        return above.value(point) / (below.value(point) or math.nan)

    if style == "/":
        return Formula(f"({above.latex})/({below.latex})", value, atom=False)
    return Formula(f"\\{style}{{{above.latex}}}{{{below.latex}}}", value, atom=True)


def _root(under: Formula, style: str) -> Formula:
    return Formula(style.format(under.latex), lambda point: math.sqrt(abs(under.value(point))), atom=True)


def _product(left: Formula, right: Formula, joint: str) -> Formula:
    parts = [part.latex if part.atom else f"({part.latex})" for part in (left, right)]
    return Formula(joint.join(parts), lambda point: left.value(point) * right.value(point), atom=False)


def _sum(left: Formula, right: Formula, sign: str) -> Formula:
    def value(point: dict[str, float]) -> float:
        change = right.value(point)
        return left.value(point) + (change if sign.strip() == "+" else -change)

    return Formula(f"{left.latex}{sign}({right.latex})", value, atom=False)


def _power(base: Formula, exponent: int, style: str) -> Formula:
    return Formula(
        f"({base.latex}){style.format(exponent)}", lambda point: base.value(point) ** exponent, atom=True
    )


LEAVES = st.integers(0, 12).map(_number) | st.sampled_from("xya").map(_variable)
FORMULAS = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(_fraction, st.sampled_from(["frac", "dfrac", "/"]), parts, parts),
        st.builds(_root, parts, st.sampled_from(["\\sqrt{{{}}}", "√({})", "sqrt({})"])),
        st.builds(_product, parts, parts, st.sampled_from([" ", "", "\\cdot ", "*", " \\times "])),
        st.builds(_sum, parts, parts, st.sampled_from(["+", " + ", "-", " − "])),
        st.builds(_power, parts, st.integers(1, 3), st.sampled_from(["^{}", "^{{{}}}"])),
    ),
    max_leaves=4,
)  # fmt: skip


def _close(left: Formula, right: Formula) -> bool:
    values = [(left.value(point), right.value(point)) for point in POINTS]
    return all(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) for one, other in values)


@settings(deadline=None, max_examples=100)
@given(st.lists(FORMULAS, min_size=2, max_size=12))
def test_formulas_of_one_form_have_one_value(formulas: list[Formula]) -> None:
    """sqrt of a negative number is taken of its size on both sides, and 1/0 is left out, being no number."""
    by_form: dict[object, Formula] = {}
    for formula in formulas:
        if any(math.isnan(formula.value(point)) for point in POINTS):
            continue
        twin = by_form.setdefault(normal_form(formula.latex), formula)
        assert _close(twin, formula), f"{twin.latex} and {formula.latex} have one form"


OPERATIONS: list[Callable[[Formula, Formula], Formula]] = [
    lambda left, right: _fraction("frac", left, right),
    lambda left, right: _fraction("/", left, right),
    lambda left, right: _product(left, right, " "),
    lambda left, right: _product(left, right, "\\cdot "),
    lambda left, right: _sum(left, right, "+"),
    lambda left, right: _sum(left, right, "-"),
    lambda left, right: _product(left, _root(right, "\\sqrt{{{}}}"), ""),
    lambda left, right: _product(_power(left, 2, "^{}"), right, ""),
]


def test_all_formulas_of_three_leaves() -> None:
    """Whatever part the reader would lose or move, some two of these formulas would get one form."""
    leaves = [_number(1), _number(2), *map(_variable, "xy")]
    by_form: dict[object, Formula] = {}
    for (a, b, c), outer, inner in product(product(leaves, repeat=3), OPERATIONS, OPERATIONS):
        for formula in (outer(inner(a, b), c), outer(a, inner(b, c))):
            if not any(math.isnan(formula.value(point)) for point in POINTS):
                twin = by_form.setdefault(normal_form(formula.latex), formula)
                assert _close(twin, formula), f"{twin.latex} and {formula.latex} have one form"
    assert len(by_form) > 1000


NUMBERS = st.fractions(max_denominator=60).filter(lambda value: abs(value) < 10**6)


def _notations(value: Fraction) -> list[str]:
    """Return ways to write a number."""
    sign, size = "-" if value < 0 else "", abs(value)
    above, below = size.numerator, size.denominator
    ways = [
        f"{sign}{above}/{below}",
        f"{sign}\\frac{{{above}}}{{{below}}}",
        f"$-\\frac{{{-value.numerator}}}{{{below}}}$",
    ]
    whole, rest = divmod(size, 1)
    if whole and rest:
        ways += [f"{sign}{whole} {rest}", f"{sign}{whole}\\frac{{{rest.numerator}}}{{{rest.denominator}}}"]
    if not rest:
        ways += [
            f"{sign}{whole:,}",
            f"{sign}{whole}.0",
            f"{sign}{whole}00%",
            f"**{sign}{whole}**",
            f"({sign}{whole})",
        ]
    return ways


@given(NUMBERS, NUMBERS, st.data())
def test_numbers_are_equal_only_if_their_values_are(
    left: Fraction, right: Fraction, data: st.DataObject
) -> None:
    one, other = data.draw(st.sampled_from(_notations(left))), data.draw(st.sampled_from(_notations(right)))
    assert number(one) == left and number(other) == right
    assert same_answer(one, other) == (left == right)


PARTS = st.sampled_from(
    ["A", "B", "(C)", "b", "C.", "Brown", "5", "12", "3.5", "-", "+", "/", "^", "_", "=", "x", "y", "π",
     "√", "{", "}",
     "[", "]", "(", ")", ",", ":", "、", "%", "°", "cm", "km", "m/s", "$", "\\frac{1}{2}", "\\sqrt{3}",
     "and", "和",
     "the", "½", "²", "~", "0", "1,000", "E.", "coli", "Paris", "红色", "选", "\\text{B}", "\\pi", "\\{",
     "\\}", ".",
     ";", "'", "because", "≤", "万", "million"]
)  # fmt: skip
WRITTEN = st.lists(PARTS, max_size=6).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda joint: joint.join(parts))
)


@settings(max_examples=300)
@given(st.lists(WRITTEN, min_size=3, max_size=3))
def test_equality_is_an_equivalence(answers: list[str]) -> None:
    a, b, c = answers
    assert same_answer(a, a) and same_answer(a, f" {a} ")
    assert same_answer(a, b) == same_answer(b, a)
    assert not (same_answer(a, b) and same_answer(b, c)) or same_answer(a, c)


STATED = st.sampled_from(
    ["7", "-3.5", "1,234", "\\frac{3}{4}", "2\\sqrt{3}", "B", "(C)", "A, C", "5 cm", "25%", "x^2+1",
     "(2, 3)", "30°"]
)  # fmt: skip
FORMS = st.sampled_from(
    [
        "Final answer: {}", "**Final answer:** {}", "**Final Answer: {}**", "### Answer: {}", "## Answer\n{}",
        "Answer: {}", "**Final Answer**\n\n{}", "Final Answer:\n$$\n{}\n$$", "Final answer:\n\\[\n{}\n\\]",
        "Answer:\n```\n{}\n```", "Correct answer: {}", "So the answer: {}", "The answer is {}.",
        "The final answer is ${}$.", "The answer is: {}", "Therefore, the answer is **{}**.",
        "<answer>{}</answer>",
        "<think>It is 9.</think><answer>{}</answer>", "So it is $\\boxed{{{}}}$.", "\\fbox{{{}}}", "答案：{}",
        "**答案**：{}", "最终答案：{}", "故答案为：{}", "所以答案是{}。", "【答案】{}", "Final answer:\n- {}",
        "The answer is {} because the others are too large.", "Answer: \\({}\\)", "Final answer: `{}`",
        "Final answer: {}\n\nNote: the final answer: must be exact.",
    ]
)  # fmt: skip
REASONING = st.lists(
    st.sampled_from(
        ["We count 3 bars.", "The base is 5 cm.", "Option A is too low.", "First, 3 + 4 = 7.", "It may be 9.",
         "由图可知，共有 3 个。"]
    ),
    max_size=4,
).map(lambda lines: "".join(f"{line}\n\n" for line in lines))  # fmt: skip


@settings(max_examples=300)
@given(REASONING, FORMS, STATED)
def test_every_way_to_state_an_answer_is_read(reasoning: str, form: str, stated: str) -> None:
    found = final_answer(reasoning + form.format(stated))
    assert found is not None and same_answer(found, stated), (form, stated, found)
