"""Quantities in several units, such as 1 h 30 min and 5 m 20 cm."""

import re
from fractions import Fraction

from .units import unit_symbol

_PART = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s?([^\W\d_]{1,12})\.?(?:\s|(?=\d)|$)")
MOST = 4  # parts


def several_units(text: str) -> str | None:
    """Return one spelling of a quantity in two to four different units, or None for anything else.

    The units aren't converted: 1 h 30 min isn't 90 min. "1 m, 2 cm" may be two lengths, so it isn't read.
    """
    parts: list[tuple[Fraction, str]] = []
    place = 0
    while place < len(text) and len(parts) <= MOST:
        match = _PART.match(text, place)
        symbol = match and unit_symbol(match[2])
        if match is None or symbol is None:
            return None
        parts.append((Fraction(match[1]), symbol))
        place = match.end()
    if not 1 < len(parts) <= MOST or len({symbol for _, symbol in parts}) < len(parts):
        return None
    return " ".join(f"{amount} {symbol}" for amount, symbol in parts)
