"""The canonical form of a formula: a number's value, or one spelling for all notations of it.

This is no algebra. Only what is certain is rewritten: how a fraction, a root, a power, a product or a group
is spelled, and the numbers in it. Sums and products keep their order, and numbers are neither multiplied nor
added up. What two readers read in two ways, such as `1/2x`, `2^3^2` or `sin x/2`, isn't read at all. So two
formulas with one form are the same formula. sympy would equate more of them, but nothing bounds its time.
"""

from fractions import Fraction

from .formula_tokens import ACCENT, CLOSERS, FUNCTION, OPENERS, SEPARATOR, SUMS, SYMBOL, Cursor, is_number
from .mixed_numbers import mixed_number
from .products import Product, UnreadableFormula, inverse, literal, power, scaled, times

MAX_DEPTH = 30  # deeper groups aren't read
FUNCTION_NAMES = frozenset("fghFGHyu")


def canonical_formula(text: str) -> Fraction | str:
    """Return the value of a number, or the canonical spelling of another formula.

    `text` is in plain notation and has at most a few thousand characters. Raises UnreadableFormula.
    """
    reader = _Reader(text)
    parts = reader.sequence()
    if reader.token is not None or not parts:
        raise UnreadableFormula(text)
    only = parts[0] if len(parts) == 1 else None
    if isinstance(only, Product) and only.value is not None:
        return only.value
    return "".join(map(str, parts))


class _Reader(Cursor):
    """Reads tokens from left to right, once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def sequence(self) -> list[Product | str]:
        """Return the sums and separators up to the end of the group; a sum of one product stays a product."""
        parts: list[Product | str] = []
        while self.token is not None and self.token not in CLOSERS:
            parts.append(self.take() if SEPARATOR.fullmatch(self.token) else self._sum())
        return parts

    def _sum(self) -> Product | str:
        terms: list[str] = []
        only: Product | None = None
        while not terms or self.token in SUMS:
            sign = self.take() if self.token in SUMS else ""
            product = self._product()
            if sign == "-":
                product = scaled(product, Fraction(-1))
            plain = sign in ("", "+", "-")
            only = product if plain and not terms else None
            terms.append(str(product) if plain else f"{sign}{product}")
        return "+".join(terms) if only is None else only

    def _product(self) -> Product:
        result = mixed_number(self) or self._factor(called=False)
        slashed = False
        while self.token is not None and not self.ended():
            joint = self.take() if self.token in ("*", "/") else ""
            if slashed and joint != "*":
                raise UnreadableFormula("1/2x and 1/2/3 can be read in two ways")
            if joint == "" and is_number(self.token):
                raise UnreadableFormula("a number follows a factor")
            factor = self._factor(called=joint == "" and result.value is None)
            if joint == "/":
                slashed, factor = True, inverse(factor)
            result = times(result, factor)
        return result

    def _factor(self, *, called: bool) -> Product:
        """Read an atom and what is raised, lowered or written behind it.

        A group right behind a letter is `called`: f(x) is not the product fx.
        """
        token = self.take()
        grouped = token in ("(", "{")
        if is_number(token):
            factor = Product(coefficient=literal(token), number_above=True)
        elif token in OPENERS:
            factor = self._group(token, called=called)
        elif token == "\\frac":
            factor = times(self._argument(), inverse(self._argument()))
        elif token in ("\\sqrt", "\\sqrt*"):
            factor = self._root(loose=token == "\\sqrt*")
        elif FUNCTION.fullmatch(token):
            factor = self._function(token)
        elif ACCENT.fullmatch(token):
            factor = Product(above=(f"{token}{{{self.index()}}}",))
        elif SYMBOL.fullmatch(token):
            factor = Product(above=(token,))
        else:
            raise UnreadableFormula(token)
        raised = False
        while self.token in ("^", "_", "!", "'", "%", "°"):
            mark = self.take()
            if raised and mark == "^":
                raise UnreadableFormula("2^3^2 can be read in two ways")
            raised = raised or mark == "^"
            whole = grouped or is_number(token)
            factor = self._postfix(factor, mark, whole=whole, base=token)
        return factor

    def _postfix(self, factor: Product, mark: str, *, whole: bool, base: str) -> Product:
        """Return a factor with a mark behind it; `whole` says that the mark belongs to all of the factor."""
        if mark == "%" and factor.value is not None:
            return scaled(factor, Fraction(1, 100))
        if mark == "^" and (index := self._order_of_derivative(base)):
            mark = f"^{{{index}}}"
        elif mark == "^":
            exponent = self._exponent(base)
            if (
                whole
                and factor.value is not None
                and exponent.value is not None
                and exponent.value.denominator == 1
            ):
                return power(factor.value, exponent.value)
            mark = f"^{{{exponent}}}"
        elif mark == "_":
            mark = f"_{{{self.index()}}}"
        one_factor = len(factor.above) == 1 and not factor.below and factor.coefficient == 1
        if not whole and not one_factor:
            raise UnreadableFormula("what is raised is more than one factor")
        natural = factor.value is not None and factor.value >= 0 and factor.value.denominator == 1
        return Product(above=(f"{factor}{mark}" if one_factor or natural else f"({factor}){mark}",))

    def _exponent(self, base: str) -> Product:
        """Read an exponent. Raises UnreadableFormula for 8^1/3 and e^2x, whose exponent may go on."""
        bare = self.token not in ("{", "(")
        exponent = self._raised()
        ends_late = self.token is not None and (is_number(self.token) or SYMBOL.fullmatch(self.token))
        if is_number(base) or base == "e":
            ends_late = ends_late or self.token == "/"
        else:
            ends_late = self.token == "/" and exponent.value == 1
        if bare and ends_late:
            raise UnreadableFormula("8^1/3 and e^2x can be read in two ways")
        return exponent

    def _order_of_derivative(self, base: str) -> str | None:
        """Read the (2) of f^{(2)}, which is a derivative; None if nothing like it follows."""
        if self.ahead(1) == ["("] and base in FUNCTION_NAMES:
            raise UnreadableFormula("f^(2) can be read in two ways")
        if self.ahead(2) != ["{", "("]:
            return None
        self.skip(2)
        content = "".join(map(str, self._until(")")))
        if self.token is None or self.take() != "}":
            raise UnreadableFormula("more than the order of a derivative is raised")
        return f"({content})"

    def _raised(self) -> Product:
        sign = Fraction(-1) if self.token == "-" else Fraction(1)
        if self.token in ("-", "+"):
            self.take()
            if self.token is None or not self.token.isdigit():
                raise UnreadableFormula("e^-x can be read in two ways")
        token = self.take()
        if token[0].isdigit():
            return Product(coefficient=sign * literal(token), number_above=True)
        return Product(above=(token,)) if token in ("*", "'", "+") else self._small(token)

    def _argument(self) -> Product:
        if self.token == "(":
            raise UnreadableFormula("LaTeX takes the parenthesis alone")
        return self._small(self.take())

    def _small(self, token: str) -> Product:
        """Return the group that a token opens, or the symbol that it is."""
        if token in ("{", "("):
            return self._group(token, called=False)
        if not SYMBOL.fullmatch(token):
            raise UnreadableFormula(token)
        return Product(above=(token,))

    def _root(self, *, loose: bool) -> Product:
        """Read what is under a root; √12 is the root of 12, but \\sqrt12 is the root of 1 in LaTeX."""
        index = ""
        if self.token == "[":
            self.take()
            index = f"[{''.join(map(str, self._until(']')))}]"
        token = self.take()
        digits = token.isdigit() and (loose or len(token) == 1)
        under = Product(coefficient=literal(token)) if digits else self._small(token)
        following = self.token
        if loose and token not in ("{", "(") and following is not None and following[0].isalpha():
            raise UnreadableFormula("√2x can be read in two ways")
        return Product(above=(f"\\sqrt{index}({under})",))

    def _function(self, name: str) -> Product:
        """Read a function of one group or one symbol; sin 2x could also end before the x."""
        while self.token in ("^", "_"):
            name += f"{self.take()}{{{self._raised()}}}"
        token = self.take()
        if token in ("(", "{"):
            return Product(above=(f"{name}({self._group(token, called=False)})",))
        if token == "\\frac":
            argument = str(times(self._argument(), inverse(self._argument())))
        else:
            argument = str(literal(token) if token.isdigit() else self._small(token))
        if self.token == "°":
            argument += self.take()
        if self.token == "*":
            ended = FUNCTION.fullmatch("".join(self.ahead(2)[1:])) is not None
        else:
            ended = self.ended() or FUNCTION.fullmatch(self.token or "") is not None
        if not ended:
            raise UnreadableFormula("sin 2x and sin x/2 can be read in two ways")
        return Product(above=(f"{name}({argument})",))

    def _group(self, opener: str, *, called: bool) -> Product:
        closer_of = {"{": ("}",), "\\{": ("\\}",)}
        parts = self._until(*closer_of.get(opener, (")", "]")))
        closer = self.last
        content = "".join(map(str, parts))
        only = parts[0] if len(parts) == 1 else None
        round_or_braces = (opener, closer) in (("(", ")"), ("{", "}"))
        if round_or_braces and isinstance(only, Product) and not called:
            return only
        if opener == "{":  # what LaTeX's braces group is one part, so several parts are a set
            opener, closer = ("\\{", "\\}") if "," in parts else ("(", ")")
        return Product(above=(f"{opener}{content}{closer}",))

    def _until(self, *closers: str) -> list[Product | str]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableFormula("its groups are too deep")
        parts = self.sequence()
        if not parts or self.take() not in closers:
            raise UnreadableFormula("a group doesn't end")
        self._depth -= 1
        return parts
