"""The normal form of a final answer: a number's value, an option's letter, or a plain text.

Votes need an equivalence, so answers are the same if their normal forms are equal; no pair of answers is
compared in another way (docs/decisions/0018). Grading against a known answer is in `grading.py`. Every
function takes time linear in the length of the answer.
"""

import re
from fractions import Fraction

LONGEST = 1000  # a longer answer, in characters, is only compared as text
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x2212: "-",
    0x3002: ".",
    0x3000: " ",
}
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boldsymbol|operatorname|mbox)\s?\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:[,;:! ]|left(?![a-z])|right(?![a-z])|quad(?![a-z])|displaystyle(?![a-z]))|~")
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{([^{}]*)\}|([0-9]))\s?(?:\{([^{}]*)\}|([0-9]))")
_SIGNS = {"\\%": "%", "\\$": "", "\\times": "*", "\\cdot": "*", "×": "*", "·": "*", "−": "-"}
_ASSIGNED = re.compile(r"\\?[A-Za-z]{1,10}\s?=\s?(?=\S)")
_OPTION = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice) |选项? ?)?(?:\(([A-Za-z])\)[.:]?(?: .*)?|([A-Za-z])[).:]?|([A-H])[).:] .*)"
)
_DEGREES = r"\^\s?\{?\s?\\circ\s?\}?|°|\\degree|degrees?"
_UNIT = (
    r"(?:square |sq\.? |cubic )?(?:[mckdnμ]?m|miles?|inch(?:es)?|ft|feet|foot|yards?|[kmμ]?g|lbs?|pounds?|oz"
    r"|m?[lL]|liters?|litres?|m?s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?|yrs?"
    r"|(?:kilo|centi|milli)?met(?:er|re)s?|(?:kilo)?grams?|dollars?|cents?|euros?|yuan|USD|units?"
    rf"|[kM]?[NJWVAK]|k?Pa|[kMG]?Hz|mol|rad(?:ians)?|{_DEGREES})(?:\s?\^?\s?\{{?[23²³]\}}?)?"
)
# The number of digits is bounded, because the value of a number with a million digits would take long.
_NUMBER = re.compile(
    r"[$€£¥]?\s?(?P<sign>[-+]?)\s?[$€£¥]?\s?"
    r"(?P<decimal>(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,30}|(?=\.[0-9]))(?:\.[0-9]{0,30})?)"
    r"(?:\s?/\s?(?P<divisor>[0-9]{1,30})|(?:[eE]|\s?\*\s?10\s?\^\s?)\{?(?P<exponent>[-+]?[0-9]{1,3})\}?)?"
    rf"(?P<percent>\s?%|\s?percent)?(?:\s?{_UNIT}(?:\s?/\s?{_UNIT})?)?"
)


def normal_form(answer: str) -> str | Fraction:
    """Return the normal form, which is equal for final answers that say the same.

    Case, dollar signs, emphasis, LaTeX's spacing and text markup, and a full stop at the end don't matter.
    The normal form of an option is its letter, for (B), B., "B: the red one" and option B. The normal form of
    a number is its value: 1,234.0 is 1234; 1/2, \\frac12 and 50% are .5; 1.5e3 is 1.5 \\times 10^3. Units
    after a number and `x =` before it are left out, so 5 kg is 5.
    """
    answer = answer.strip()
    if len(answer) > LONGEST:
        return _words(answer)
    plain = _bare(answer)
    option = _OPTION.fullmatch(plain)
    if option:
        return (option[1] or option[2] or option[3]).lower()
    value = _value(plain)
    if value is not None:
        return value
    symbolic = "\\" in answer or re.search(r"[=^_+*/(\[,]", plain)
    return re.sub(r"\s+", "", plain).lower() if symbolic else _words(plain)


def number(answer: str) -> Fraction | None:
    """Return the value of an answer that is a number, or None for other answers."""
    return _value(_bare(answer)) if len(answer) <= LONGEST else None


def _bare(answer: str) -> str:
    """Return the answer without markup, emphasis, and other notation that doesn't change what it says."""
    plain = answer.translate(_FULL_WIDTH).replace("\\(", "$").replace("\\)", "$")
    plain = _SPACING.sub(" ", _MARKUP.sub(r" \1 ", plain))
    for sign, meaning in _SIGNS.items():
        plain = plain.replace(sign, meaning)
    plain = _FRACTION.sub(lambda part: f"{part[1] or part[2]}/{part[3] or part[4]}", plain)
    return " ".join(plain.strip(" \t\n$*").removesuffix(".").strip(" \t\n$*`\"'").split())


def _value(plain: str) -> Fraction | None:
    match = _NUMBER.fullmatch(_ASSIGNED.sub("", plain, count=1))
    if match is None:
        return None
    divisor = int(match["divisor"] or 1)
    if divisor == 0:
        return None
    value = (
        Fraction(match["decimal"].replace(",", "")) / divisor * Fraction(10) ** int(match["exponent"] or 0)
    )
    value = value / 100 if match["percent"] else value
    return -value if match["sign"] == "-" else value


def _words(text: str) -> str:
    return " ".join(text.lower().split())
