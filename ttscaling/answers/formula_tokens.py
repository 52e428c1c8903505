"""The tokens of a formula, and their kinds."""

import re

from .products import UnreadableFormula

_TOKEN = re.compile(
    r"\\sqrt\*|\\[A-Za-z]+|\\.|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?![\w.]))?|\S", re.DOTALL
)
SEPARATOR = re.compile(
    r"[,;:=<>]|\\(?:le|ge|ne|in|cup|cap|to|approx|sim|perp|parallel|subset|Rightarrow|mid|equiv|cong)"
)
OPENERS = frozenset({"(", "[", "\\{", "{"})
CLOSERS = frozenset({")", "]", "\\}", "}"})
SUMS = frozenset({"+", "-", "\\pm", "\\mp"})
ACCENT = re.compile(r"\\(?:vec|overline|overrightarrow|bar|hat|widehat|d?dot|tilde)")
FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|exp)")
SYMBOL = re.compile(
    r"[A-Za-z]|\\(?:pi|alpha|beta|[gG]amma|[dD]elta|epsilon|theta|[lL]ambda|mu|nu|rho|[sS]igma|tau|[pP]hi|[oO]mega"
    r"|hbar|eta|xi|[pP]si|chi|zeta|kappa|ell|infty|emptyset|angle|triangle|[cl]?dots)"
)


def is_number(token: str) -> bool:
    """Return whether a token is a number without a sign."""
    return token[0] in ".0123456789" and token != "."


class Cursor:
    """The tokens of a formula in plain notation, and a place among them that only moves forward."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0

    @property
    def token(self) -> str | None:
        """The next token, None at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    @property
    def last(self) -> str:
        """The token that was taken last."""
        return self._tokens[self._at - 1]

    def ahead(self, count: int) -> list[str]:
        """Return the next tokens, at most `count`, without taking them."""
        return self._tokens[self._at : self._at + count]

    def skip(self, count: int) -> None:
        """Move on by so many tokens."""
        self._at += count

    def take(self) -> str:
        """Return the next token and move on. Raises UnreadableFormula at the end."""
        token = self.token
        if token is None:
            raise UnreadableFormula("it ends early")
        self._at += 1
        return token

    def ended(self) -> bool:
        """Return whether a product ends before the next token."""
        token = self.token
        return token is None or token in SUMS | CLOSERS or SEPARATOR.fullmatch(token) is not None

    def index(self) -> str:
        """Take an index, or what stands below an accent, as it is written: v_{1x} isn't v_x.

        Raises UnreadableFormula for a group that is empty or doesn't end.
        """
        token = self.take()
        if token != "{":
            if not (is_number(token) or SYMBOL.fullmatch(token)):
                raise UnreadableFormula(token)
            return token
        written: list[str] = []
        depth = 1
        while depth:
            written.append(self.take())
            depth += {"{": 1, "}": -1}.get(written[-1], 0)
        if len(written) < 2:
            raise UnreadableFormula("an index is empty")
        return " ".join(written[:-1])
