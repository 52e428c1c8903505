"""Numbers in words: seven, two thirds, 二十五, 三分之二 and 百分之二十.

Only what is surely a number is read: 二百五 isn't, because it may be 205 as well as 250.
"""

import re
from fractions import Fraction

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_PARTS = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_SMALL = {word: value for value, word in enumerate(("zero", *_UNITS, *_TEENS))}
_LARGE = {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_ENGLISH = re.compile(
    rf"(?:(?P<hundreds>{'|'.join(_UNITS)}) hundred(?:(?: and)? (?=[a-z]))?)?"
    rf"(?:(?P<tens>{'|'.join(_TENS)})(?:[- ](?P<units>{'|'.join(_UNITS)}))?|(?P<small>{'|'.join(_SMALL)}))?"
)
_ENGLISH_FRACTION = re.compile(rf"(?P<count>{'|'.join(_UNITS)})[- ](?P<part>{'|'.join(_PARTS)})s?")
_LONGEST = 40  # in characters

_DIGITS = "零一二三四五六七八九"
_CHINESE = re.compile(r"[零〇一二两三四五六七八九十百千万]{1,16}")
_POWERS = {"十": 10, "百": 100, "千": 1000}


def spelled_number(text: str) -> Fraction | None:
    """Return the value of a number in English or Chinese words, or None if the text is no such number."""
    if len(text) > _LONGEST:
        return None
    lower = text.lower()
    if lower == "half":
        return Fraction(1, 2)
    if fraction := _ENGLISH_FRACTION.fullmatch(lower):
        return Fraction(_SMALL[fraction["count"]], 2 + _PARTS.index(fraction["part"]))
    if (match := _ENGLISH.fullmatch(lower)) and lower:
        value = 100 * _SMALL.get(match["hundreds"], 0) + _LARGE.get(match["tens"], 0)
        return Fraction(value + _SMALL.get(match["units"] or match["small"], 0))
    below, parted, above = text.partition("分之")
    if not parted:
        return _chinese(text)
    denominator = Fraction(100) if below == "百" else _chinese(below)
    numerator = _chinese(above)
    return numerator / denominator if numerator is not None and denominator else None


def _chinese(text: str) -> Fraction | None:
    """Return the value of a Chinese numeral below 10^8 if it is written in the usual way."""
    if not _CHINESE.fullmatch(text):
        return None
    text = text.replace("〇", "零").replace("两", "二")
    total = section = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS.index(character)
        elif character == "万":
            total, section, digit = 10_000 * (total + section + digit), 0, 0
        else:
            section, digit = section + (digit or 1) * _POWERS[character], 0
    value = total + section + digit
    return Fraction(value) if text in _numerals(value) else None


def _numerals(value: int) -> tuple[str, str]:
    """Return the two usual numerals of a number: 10 is 十, and 一十 behind other digits."""
    high, low = divmod(value, 10_000)
    numeral = _section(low) if low else ""
    if high:
        numeral = f"{_section(high)}万{'零' if 0 < low < 1000 else ''}{numeral}"
    numeral = numeral or "零"
    return numeral, numeral.removeprefix("一") if numeral.startswith("一十") else numeral


def _section(value: int) -> str:
    """Return the numeral of a number from 1 to 9999."""
    numeral = ""
    for power, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // power % 10
        if digit:
            numeral += f"{_DIGITS[digit]}{sign}"
        elif numeral and not numeral.endswith("零"):
            numeral += "零"
    return numeral.rstrip("零")
