"""Products of numbers and factors, the part of a formula in which numbers are collected."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

MAX_DIGITS = 30  # of a number; the value of a number with a million digits would take long
MAX_BITS = 4096  # of a power's value
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([-+]?\d+))?")
_LIKE_A_DIFFERENCE = re.compile(r"(?!1[eE])\d+[eE][-+][1-9]\d*")  # 2e-1 may be 2 * e - 1


def literal(token: str) -> Fraction:
    """Return a number's value.

    Raises UnreadableFormula for a long one, for 007, which may be a code, and for 2e-1, which may be
    2 * e - 1.
    """
    match = _NUMBER.fullmatch(token)
    if match is None or len(token) > MAX_DIGITS or _LIKE_A_DIFFERENCE.fullmatch(token):
        raise UnreadableFormula(token)
    if len(token) > 1 and token[0] == "0" and token[1] != ".":
        raise UnreadableFormula(token)
    return Fraction(token if token[-1] != "." else token[:-1])


def scaled(product: Product, factor: Fraction) -> Product:
    """Return the product with a changed coefficient."""
    return replace(product, coefficient=product.coefficient * factor, power_of_ten=False)


def inverse(product: Product) -> Product:
    """Return 1 / product. Raises UnreadableFormula for a product of 0."""
    if product.coefficient == 0:
        raise UnreadableFormula("it divides by zero")
    return Product(
        coefficient=1 / product.coefficient,
        above=product.below,
        below=product.above,
        number_above=product.number_below,
        number_below=product.number_above,
    )


def times(left: Product, right: Product) -> Product:
    """Return the product of two products.

    Numbers are multiplied only by a power of ten. Otherwise UnreadableFormula is raised, because 3 * 4 may be
    the size of a grid.
    """
    twice = (left.number_above and right.number_above) or (left.number_below and right.number_below)
    if twice and not (right.power_of_ten and left.value is not None):
        raise UnreadableFormula("two numbers are multiplied")
    return Product(
        coefficient=left.coefficient * right.coefficient,
        above=left.above + right.above,
        below=left.below + right.below,
        number_above=left.number_above or right.number_above,
        number_below=left.number_below or right.number_below,
    )


def power(base: Fraction, exponent: Fraction) -> Product:
    """Return the value of a power. Raises UnreadableFormula for a large one, and for 1 / 0."""
    size = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent)
    if size > MAX_BITS or (base == 0 and exponent <= 0):
        raise UnreadableFormula("this power isn't computed")
    value = base ** int(exponent)
    return Product(coefficient=value, number_above=True, power_of_ten=base == 10)


class UnreadableFormula(Exception):
    """This is no formula, or one that can be read in two ways."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """coefficient * above / below. The flags say whether the coefficient's parts were written as numbers."""

    coefficient: Fraction = Fraction(1)
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    number_above: bool = False
    number_below: bool = False
    power_of_ten: bool = False

    @property
    def value(self) -> Fraction | None:
        """The number that this product is, None if it has other factors."""
        return None if self.above or self.below else self.coefficient

    def __str__(self) -> str:
        below = f"/({'*'.join(self.below)})" if self.below else ""
        if not self.above:
            return f"{self.coefficient}{below}"
        numbers = {Fraction(1): "", Fraction(-1): "-"}.get(self.coefficient, f"{self.coefficient}*")
        return f"{numbers}{'*'.join(self.above)}{below}"
