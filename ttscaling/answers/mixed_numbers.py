"""Mixed numbers, such as 2 1/3, which are sums and no products."""

from .formula_tokens import Cursor
from .products import Product, UnreadableFormula, literal


def mixed_number(cursor: Cursor) -> Product | None:
    """Take 2 1/3 or 2\\frac{1}{3} and return their sum, or return None if this isn't a mixed number.

    Raises UnreadableFormula for 2 5/3 and for 1 1/2 x.
    """
    ahead = cursor.ahead(8)
    if len(ahead) > 1 and ahead[0].isdigit() and ahead[1] == "\\frac":
        shape = [ahead[2:3], ahead[4:6], ahead[7:8]] == [["{"], ["}", "{"], ["}"]]
        digits, length = (ahead[0], *ahead[3:4], *ahead[6:7]), 8
    else:
        shape = len(ahead) > 3 and ahead[2] == "/"
        digits, length = (*ahead[:2], *ahead[3:4]), 4
    if not shape or len(digits) != 3 or not all(part.isdigit() for part in digits):
        return None
    whole, above, below = (literal(part) for part in digits)
    if not 0 < above < below or whole == 0:
        raise UnreadableFormula("it is no mixed number")
    cursor.skip(length)
    if length == 4 and not cursor.ended():
        raise UnreadableFormula("1 1/2 x can be read in two ways")
    return Product(coefficient=whole + above / below, number_above=True, number_below=True)
