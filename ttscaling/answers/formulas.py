"""The canonical form of a formula: a number's value, or one spelling for all notations of it.

This is no algebra. Only what is certain is rewritten: how a fraction, a root, a power, a product or a group
is spelled, and the numbers in it. Sums and products keep their order, and numbers are neither multiplied nor
added up. `1/2x`, which two readers read in two ways, isn't read at all. So two formulas with one form are the
same formula. sympy would equate more of them, but nothing bounds its time.
"""

import re
from fractions import Fraction

from .products import Product, UnreadableFormula, inverse, literal, power, scaled, times

MAX_DEPTH = 30  # deeper groups aren't read
_TOKEN = re.compile(
    r"\\sqrt\*|\\[A-Za-z]+|\\.|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?![\w.]))?|\S", re.DOTALL
)
_SEPARATOR = re.compile(
    r"[,;:=<>]|\\(?:le|ge|ne|in|cup|cap|to|approx|sim|perp|parallel|subset|Rightarrow|mid|equiv|cong)"
)
_OPENERS = frozenset({"(", "[", "\\{", "{"})
_CLOSERS = frozenset({")", "]", "\\}", "}"})
_SUMS = frozenset({"+", "-", "\\pm", "\\mp"})
_ACCENT = re.compile(r"\\(?:vec|overline|overrightarrow|bar|hat|widehat|d?dot|tilde)")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|exp)")
_SYMBOL = re.compile(
    r"[A-Za-z]|\\(?:pi|alpha|beta|[gG]amma|[dD]elta|epsilon|theta|[lL]ambda|mu|nu|rho|[sS]igma|tau|[pP]hi|[oO]mega"
    r"|hbar|eta|xi|[pP]si|chi|zeta|kappa|ell|infty|emptyset|angle|triangle|[cl]?dots)"
)


def canonical_formula(text: str) -> Fraction | str:
    """Return the value of a number, or the canonical spelling of another formula.

    `text` is in plain notation and has at most a few thousand characters. Raises UnreadableFormula.
    """
    reader = _Reader(_TOKEN.findall(text))
    parts = reader.sequence()
    if reader.token is not None or not parts:
        raise UnreadableFormula(text)
    only = parts[0] if len(parts) == 1 else None
    if isinstance(only, Product) and only.value is not None:
        return only.value
    return "".join(map(str, parts))


class _Reader:
    """Reads tokens from left to right, once."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def token(self) -> str | None:
        """The next token, None at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def sequence(self) -> list[Product | str]:
        """Return the sums and separators up to the end of the group; a sum of one product stays a product."""
        parts: list[Product | str] = []
        while self.token is not None and self.token not in _CLOSERS:
            parts.append(self._take() if _SEPARATOR.fullmatch(self.token) else self._sum())
        return parts

    def _take(self) -> str:
        token = self.token
        if token is None:
            raise UnreadableFormula("it ends early")
        self._at += 1
        return token

    def _ended(self) -> bool:
        """Return whether a product ends before this token."""
        token = self.token
        return token is None or token in _SUMS | _CLOSERS or _SEPARATOR.fullmatch(token) is not None

    def _sum(self) -> Product | str:
        terms: list[str] = []
        only: Product | None = None
        while not terms or self.token in _SUMS:
            sign = self._take() if self.token in _SUMS else ""
            product = self._product()
            if sign == "-":
                product = scaled(product, Fraction(-1))
            plain = sign in ("", "+", "-")
            only = product if plain and not terms else None
            terms.append(str(product) if plain else f"{sign}{product}")
        return "+".join(terms) if only is None else only

    def _product(self) -> Product:
        result = self._mixed_number() or self._factor(called=False)
        slashed = False
        while self.token is not None and not self._ended():
            joint = self._take() if self.token in ("*", "/") else ""
            if slashed and joint != "*":
                raise UnreadableFormula("1/2x and 1/2/3 can be read in two ways")
            if joint == "" and self.token[0] in ".0123456789":
                raise UnreadableFormula("a number follows a factor")
            factor = self._factor(called=joint == "" and result.value is None)
            if joint == "/":
                slashed, factor = True, inverse(factor)
            result = times(result, factor)
        return result

    def _mixed_number(self) -> Product | None:
        """Return 2 1/3 or 2\\frac{1}{3} as their sum, or None if this isn't a mixed number."""
        ahead = self._tokens[self._at : self._at + 8]
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
        self._at += length
        if length == 4 and not self._ended():
            raise UnreadableFormula("1 1/2 x can be read in two ways")
        return Product(coefficient=whole + above / below, number_above=True, number_below=True)

    def _factor(self, *, called: bool) -> Product:
        """Read an atom and what is raised, lowered or written behind it.

        A group right behind a letter is `called`: f(x) is not the product fx.
        """
        token = self._take()
        grouped = token in ("(", "{")
        if token[0] in ".0123456789":
            factor = Product(coefficient=literal(token), number_above=True)
        elif token in _OPENERS:
            factor = self._group(token, called=called)
        elif token == "\\frac":
            factor = times(self._argument(), inverse(self._argument()))
        elif token in ("\\sqrt", "\\sqrt*"):
            factor = self._root(loose=token == "\\sqrt*")
        elif _FUNCTION.fullmatch(token):
            factor = self._function(token)
        elif _ACCENT.fullmatch(token):
            factor = Product(above=(f"{token}{{{self._argument()}}}",))
        elif _SYMBOL.fullmatch(token):
            factor = Product(above=(token,))
        else:
            raise UnreadableFormula(token)
        while self.token in ("^", "_", "!", "'", "%", "°"):
            factor = self._postfix(factor, self._take(), whole=grouped or token[0] in ".0123456789")
        return factor

    def _postfix(self, factor: Product, mark: str, *, whole: bool) -> Product:
        """Return a factor with a mark behind it; `whole` says that the mark belongs to all of the factor."""
        if mark == "%" and factor.value is not None:
            return scaled(factor, Fraction(1, 100))
        if mark == "^":
            exponent = self._raised()
            if (
                whole
                and factor.value is not None
                and exponent.value is not None
                and exponent.value.denominator == 1
            ):
                return power(factor.value, exponent.value)
            mark = f"^{{{exponent}}}"
        elif mark == "_":
            mark = f"_{{{self._raised()}}}"
        one_factor = len(factor.above) == 1 and not factor.below and factor.coefficient == 1
        if not whole and not one_factor:
            raise UnreadableFormula("what is raised is more than one factor")
        natural = factor.value is not None and factor.value >= 0 and factor.value.denominator == 1
        return Product(above=(f"{factor}{mark}" if one_factor or natural else f"({factor}){mark}",))

    def _raised(self) -> Product:
        sign = Fraction(-1) if self.token == "-" else Fraction(1)
        if self.token in ("-", "+"):
            self._take()
            if self.token is None or not self.token.isdigit():
                raise UnreadableFormula("e^-x can be read in two ways")
        token = self._take()
        if token[0].isdigit():
            return Product(coefficient=sign * literal(token), number_above=True)
        return Product(above=(token,)) if token in ("*", "'", "+") else self._small(token)

    def _argument(self) -> Product:
        if self.token == "(":
            raise UnreadableFormula("LaTeX takes the parenthesis alone")
        return self._small(self._take())

    def _small(self, token: str) -> Product:
        """Return the group that a token opens, or the symbol that it is."""
        if token in ("{", "("):
            return self._group(token, called=False)
        if not _SYMBOL.fullmatch(token):
            raise UnreadableFormula(token)
        return Product(above=(token,))

    def _root(self, *, loose: bool) -> Product:
        """Read what is under a root; √12 is the root of 12, but \\sqrt12 is the root of 1 in LaTeX."""
        index = ""
        if self.token == "[":
            self._take()
            index = f"[{''.join(map(str, self._until(']')))}]"
        token = self._take()
        digits = token.isdigit() and (loose or len(token) == 1)
        under = Product(coefficient=literal(token)) if digits else self._small(token)
        following = self.token
        if loose and token not in ("{", "(") and following is not None and following[0].isalpha():
            raise UnreadableFormula("√2x can be read in two ways")
        return Product(above=(f"\\sqrt{index}({under})",))

    def _function(self, name: str) -> Product:
        """Read a function of one group or one symbol; sin 2x could also end before the x."""
        while self.token in ("^", "_"):
            name += f"{self._take()}{{{self._raised()}}}"
        token = self._take()
        if token in ("(", "{"):
            return Product(above=(f"{name}({self._group(token, called=False)})",))
        argument = str(literal(token) if token.isdigit() else self._small(token))
        if self.token == "°":
            argument += self._take()
        if not (self._ended() or self.token in ("*", "/") or _FUNCTION.fullmatch(self.token or "")):
            raise UnreadableFormula("sin 2x can be read in two ways")
        return Product(above=(f"{name}({argument})",))

    def _group(self, opener: str, *, called: bool) -> Product:
        closer_of = {"{": ("}",), "\\{": ("\\}",)}
        parts = self._until(*closer_of.get(opener, (")", "]")))
        closer = self._tokens[self._at - 1]
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
        if not parts or self._take() not in closers:
            raise UnreadableFormula("a group doesn't end")
        self._depth -= 1
        return parts
