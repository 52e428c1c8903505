"""The normal form of a final answer: a number's value, letters, a formula's spelling, or plain words.

Votes need an equivalence, so answers are the same if their normal forms are equal; no pair of answers is
compared in another way (docs/decisions/0046). Grading against a known answer is in `grading.py`. Every
function takes time linear in the length of the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .formulas import canonical_formula
from .notation import plain_notation
from .number_words import spelled_number
from .options import read_options
from .products import UnreadableFormula
from .several_units import several_units
from .units import CURRENCIES, DEGREE, unit_symbol
from .words import words

LONGEST = 1000  # a longer answer, in characters, is only compared as text
Core = str | Fraction
_ABOUT = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|circa|大约|约为?|\\approx|\\sim)\s?(?=[^A-Za-z\s])",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?P<name>[^\W\d][^=<>,;:\d]{0,39}?|\\[^=<>,;:]{1,40}?|[a-zA-Z]_\d) ?= ?(?P<value>[^=]+)"
)
# What stands before `=` then is an expression, or the sign is none of equality.
_NO_NAME = re.compile(
    r"[!~+*/^'|]|(?<![A-Za-z])-|-(?![A-Za-z])|\\(?:sqrt|d?frac|log|ln|lg|sin|cos|tan|not|neq?|approx|sim)(?![A-Za-z])"
    r"|\bnot\b",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:minus |negative |负)(?=\d)", re.IGNORECASE)
_BOUND = re.compile(r"(less|fewer|more|greater) than (?=[-\d$])|at (least|most) (?=[-\d$])", re.IGNORECASE)
_BOUNDS = {"less": "<", "fewer": "<", "more": ">", "greater": ">", "least": "\\ge ", "most": "\\le "}
_HAS_X = re.compile(r"(?<![A-Za-z\\])x(?![A-Za-z])")
_WITH_UNIT = (
    re.compile(r"(?P<amount>.*[\d})\]])\s?(?P<unit>[^\d\s{}()\]^].*)"),
    re.compile(r"(?P<amount>.*\S) (?P<unit>\S+)"),
    re.compile(r"(?P<amount>.*\S) (?P<unit>(?:square|cubic|sq\.?) \S+)"),
)
_SCALE = re.compile(r"(?P<number>.*\d)\s?(?P<scale>thousand|million|billion|trillion|万|亿)")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "亿": 8}
_PERCENT = re.compile(r"(?P<number>.*[\d)}])\s?(?:percent|per cent)", re.IGNORECASE)
_MONEY = re.compile(r"(?P<sign>[-+]?)\s?(?P<currency>US\$|[$€£¥]|USD|EUR|RMB|CNY)\s?(?P<rest>[-+.\d].*)")
_DECIMAL_COMMA = re.compile(r"([-+]?\d{1,3}(?:\.\d{3})+),(\d{2})")  # 1.234,56 is 1234.56
_SPACED = re.compile(r"[-+]?\s?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_AND = re.compile(r",?\s(?:and|和|与)\s|(?<=[\d}])\s?(?:和|与)\s?(?=[\d\\])")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3}|[^\x00-\x7f°]")
_LIKE_A_PRODUCT = re.compile(r"[-+]?[\d.]+[A-Za-z]")  # 3t may be 3 * t as well as 3 tonnes
_COMPOUND = re.compile(r"(?:[A-Z][a-z]?(?:\s?_\{?\d+\}?\s?|\d+)?){1,20}")  # H_2O is H2O
_MATH = re.compile(r"[\d\\^_=+*/<>|°%]|[\[({,:-]")


def normal_form(answer: str) -> Core | tuple[Core, str]:
    """Return the normal form, which is equal only for final answers that say the same.

    LaTeX's markup, emphasis, quotes, full-width forms and a full stop at the end don't matter. The form of an
    option is its letter, for (B), B., "B: the red one" and option B. That of several options is all letters.
    A number is its value: 1,234.0 is 1234; 1/2, \\frac12 and 50% are .5; 1 1/2 is 1.5; 1.5e3 is
    1.5 \\times 10^3. A unit or a name belongs to the form (5 km isn't 5 m, and y = 3 isn't z = 3), except
    `x =` and the degrees of an angle. A formula is its canonical spelling, and a text is its words.
    """
    return read_answer(answer).form


def number(answer: str) -> Fraction | None:
    """Return the value of an answer that is a number, whatever its unit or name, or None if it is none."""
    core = read_answer(answer).core
    return core if isinstance(core, Fraction) else None


def read_answer(answer: str) -> Reading:
    """Return the reading of a final answer."""
    answer = answer.strip()
    if len(answer) > LONGEST:
        return Reading("text", words(answer))
    plain = plain_notation(answer)
    if _COMPOUND.fullmatch(plain):
        plain = re.sub(r"[_{}\s]", "", plain)
    if options := read_options(plain):
        letters = options.letters if len(options.letters) == 1 else f"({options.letters})"
        tail = None if options.sure else words(options.text or "")
        return Reading("options", letters, tail, joins=not options.letter_alone_differs)
    named = _NAMED.fullmatch(plain)
    if named and _NO_NAME.search(named["name"]):
        named = None
    name, value = (named["name"].strip(), named["value"]) if named else ("", plain)
    value = _MINUS.sub("-", value, count=1) if _MINUS.match(value) else value
    if bound := _BOUND.match(value):
        value = _BOUNDS[(bound[1] or bound[2]).lower()] + value[bound.end() :]
    core: Core | None = several_units(value)
    unit = None
    if core is None:
        core, unit = _quantity(value)
    if core is None:
        core, unit = _formula(value), None
    if core is None:
        return Reading("text", words(plain))
    kind: Literal["number", "formula"] = "number" if isinstance(core, Fraction) else "formula"
    detail = f"{words(name)} = {unit or ''}" if name else unit
    usual = (not name or _is_usual(name, value)) and unit in (None, DEGREE)
    return Reading(kind, core, detail, usual, joins=name != "" or _LIKE_A_PRODUCT.fullmatch(value) is None)


def _is_usual(name: str, value: str) -> bool:
    """Return whether a name before `=` is usually left out: x, and y or f(x) of an x."""
    of_x = _HAS_X.search(value) is not None
    return (name == "x" and not of_x) or (name in ("y", "f(x)") and of_x)


def _quantity(text: str) -> tuple[Core | None, str | None]:
    """Return a number or formula and its unit; (None, None) if the text is neither."""
    text = _ABOUT.sub("", text, count=1) if _ABOUT.match(text) else text
    if money := _MONEY.fullmatch(text):
        value = _value(f"{money['sign']}{money['rest']}")
        return (None, None) if value is None else (value, CURRENCIES[money["currency"]])
    value = _value(text)
    if value is not None:
        return value, None
    for expression in _WITH_UNIT:
        match = expression.fullmatch(text)
        unit = match and unit_symbol(match["unit"])
        core = _amount(match["amount"]) if match and unit is not None else None
        if core is not None:
            return core, unit
    return None, None


def _amount(text: str) -> Core | None:
    value = _value(text)
    return value if value is not None or not _MATH.search(text) else _formula(text)


def _value(text: str) -> Fraction | None:
    """Return the value of a number, also of 5 million, 50 percent and 1 234."""
    if match := _SCALE.fullmatch(text):
        value = _value(match["number"])
        return None if value is None else value * 10 ** _SCALES[match["scale"]]
    if match := _PERCENT.fullmatch(text):
        value = _value(match["number"])
        return None if value is None else value / 100
    if not text.isascii() or text.isalpha() or "-" in text[1:] or " " in text:
        spelled = spelled_number(text)
        if spelled is not None:
            return spelled
    if decimal_comma := _DECIMAL_COMMA.fullmatch(text):
        text = f"{decimal_comma[1].replace('.', '')}.{decimal_comma[2]}"
    if _SPACED.fullmatch(text):
        text = text.replace(" ", "")
    try:
        value_or_formula = canonical_formula(text)
    except UnreadableFormula:
        return None
    return value_or_formula if isinstance(value_or_formula, Fraction) else None


def _formula(text: str) -> Core | None:
    text = _AND.sub(", ", text)
    if _WORD.search(text) or not _MATH.search(text):
        return None
    try:
        formula = canonical_formula(text)
    except UnreadableFormula:
        return None
    return f"${formula}" if isinstance(formula, str) else formula


@dataclass(frozen=True)
class Reading:
    """What an answer says, and what others leave out when they say the same.

    `detail` is the unit and name of a quantity, or the text of an option. It is None if there is none. The
    form leaves out a detail that is `usual`: `x =`, and the degrees of an angle. An answer without the detail
    `joins` this one in a vote, unless the detail may be something else: 3t may be a product, and E. coli
    isn't option E.
    """

    kind: Literal["number", "options", "formula", "text"]
    core: Core
    detail: str | None = None
    usual: bool = False
    joins: bool = True

    @property
    def form(self) -> Core | tuple[Core, str]:
        """The normal form."""
        return self.core if self.detail is None or self.usual else (self.core, self.detail)
