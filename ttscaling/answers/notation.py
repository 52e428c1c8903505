"""One notation for a final answer: without markup, and with one character for what has many.

Nothing here changes what an answer says. `plain_notation` is what all readers of answers begin with.
"""

import re
import unicodedata

_COMMANDS = {
    "π": "pi", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "μ": "mu",
    "λ": "lambda", "µ": "mu", "ν": "nu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi",
    "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Λ": "Lambda", "Σ": "Sigma", "Φ": "Phi", "Ω": "Omega",
    "\u2126": "Omega", "∞": "infty", "≤": "le", "⩽": "le", "≥": "ge", "⩾": "ge", "≠": "ne", "≈": "approx",
    "±": "pm", "∈": "in", "∪": "cup", "∩": "cap", "∅": "emptyset", "∠": "angle", "△": "triangle", "⊥": "perp",
    "∥": "parallel", "→": "to", "√": "sqrt*", "≡": "equiv",
}  # fmt: skip
_ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge",
    "geqslant": "ge", "neq": "ne", "rightarrow": "to", "varnothing": "emptyset", "varphi": "phi",
    "varepsilon": "epsilon", "lbrace": "{", "rbrace": "}", "infin": "infty", "overrightarrow": "vec",
    "dbinom": "binom", "tbinom": "binom",
    "begin{bmatrix}": "begin{pmatrix}", "end{bmatrix}": "end{pmatrix}",
}  # fmt: skip
_CHARACTERS = (
    {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {ord(char): f"\\{name} " for char, name in _COMMANDS.items()}
    | {ord(char): "-" for char in "‐‑‒–—−－"}
    | {ord(char): "*" for char in "×·⋅∙✕"}
    | {ord(char): '"' for char in "“”„«»「」"}
    | {ord(char): "'" for char in "‘’′"}
    | {ord(char): " " for char in "\u00a0\u2002\u2003\u2009\u202f\u3000\t\r\n"}
    | {ord(char): ", " for char in "，、"}
    | {ord("。"): ". ", ord("："): ": ", ord("÷"): "/", ord("℃"): "°C", ord("℉"): "°F", ord("º"): "°"}
    | {ord("″"): '"', ord("∶"): ":", ord("♯"): "#", ord("♭"): "b", ord("∣"): "|"}
    | {ord(char): f"\\mathbb{{{letter}}}" for char, letter in zip("ℝℤℕℚℂ", "RZNQC", strict=True)}
    | {ord("˚"): "°", ord("【"): "[", ord("】"): "]", ord("㎝"): "cm", ord("㎡"): "m^2 ", ord("\u200b"): ""}
)
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_LOWERED = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_CIRCLED_LIST = re.compile(r"(?<=[①-⑳])[,;\s]+(?=[①-⑳])")

_MARKUP = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|mathrm|mathbf|mathit|mathsf|boldsymbol|bm|operatorname|mbox|ce)"
    r"\s?\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_MATH = re.compile(r"\$(?=\S)([^$]*)(?<=\S)\$(?!\d)")
_DRESS = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits|boxed|fbox|rm|bf)(?![A-Za-z])|\\[()\[\]!]"
)
_SPACING = re.compile(r"(?<!\\)\\(?:[,;: ]|q?quad(?![A-Za-z]))|(?<!\d)~(?!=)|~(?![\d=])")
_ALIAS = re.compile(r"\\(" + "|".join(map(re.escape, _ALIASES)) + r")(?![A-Za-z])")
_BAR = re.compile(r"\\(?:[lr]?vert|mid)(?![A-Za-z])")
_PRIME = re.compile(r"\^\s?(?:\{\s?\\prime\s?\}|\\prime(?![A-Za-z]))")
_MODULO = re.compile(r"\\pmod\s?\{([^{}]*)\}|\(mod\s([^()]*)\)")
_DEGREE = re.compile(r"\^\s?\{?\s?\\circ(?![A-Za-z])\s?\}?|\\degree(?![A-Za-z])")
_PRODUCT = re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])|(?<=\d)\s?[xX]\s?(?=10\s?\^)")
_SCALE_OF_DEGREES = re.compile(r"°\s?(?=[CF](?![A-Za-z]))")
_QUOTIENT = re.compile(r"\\div(?![A-Za-z])")
_WORD_COMMANDS = re.compile(
    r"(?<![A-Za-z\\])(sqrt|pi|infinity|sin|cos|tan|ln|log)(?![A-Za-z])", re.IGNORECASE
)
_SHORT_FRACTION = re.compile(r"\\frac\s?(\d)\s?(?=[\d{])")
_SHORT_BELOW = re.compile(r"(\\frac\s?\{[^{}]*\})\s?(\d)")
_ONE_RAISED = re.compile(r"([\^_])\s?\{\s?([^{}\\\s])\s?\}")
_IN_DEGREES = re.compile(r"(?<=\d)\s?度(?!\w)")
_BESIDE_CHINESE = re.compile(r"(?<=[\u4e00-\u9fff])\s|\s(?=[\u4e00-\u9fff])")
_EMPHASIS = re.compile(r"\*\*(?=\S)([^*]+)\*\*")
_REPEATING = re.compile(r"(?<![\d.])(\d{0,15})\.(\d{0,15})\\(?:overline|bar|dot)\s?\{(\d{1,15})\}")
_GROUPED = re.compile(r"(?<![\d.,(\[{])(\d{1,3}(?:,\d{3})+)(?![\d]|,\d)")
_BULLET = re.compile(r"^[*•]\s+")


def plain_notation(answer: str) -> str:
    """Return an answer without markup, emphasis, math delimiters and outer quotes, in one line.

    Full-width forms, dashes, quotes, Greek letters and raised digits become their ASCII or LaTeX form;
    `\\dfrac12` becomes `\\frac{1}{2}`, `^{\\circ}` becomes `°`, and 1,234 becomes 1234.
    """
    text = _VULGAR.sub(_vulgar_fraction, answer)
    text = _RAISED.sub(lambda run: f"^{{{_mapped(run[0], _SUPERSCRIPTS)}}}", text)
    text = _LOWERED.sub(lambda run: f"_{{{_mapped(run[0], _SUBSCRIPTS)}}}", text)
    text = text.translate(_CHARACTERS).replace("{,}", ",").replace("\\$", "\0")
    text = _MATH.sub(r" \1 ", text.replace("$$", "$")).replace("\0", "$").replace("\\%", "%")
    text = _MARKUP.sub(r" \1 ", _MARKUP.sub(r" \1 ", text))
    text = _SPACING.sub(" ", _DRESS.sub("", text))
    text = _BAR.sub("|", _PRIME.sub("'", _MODULO.sub(r" mod \1\2 ", text.replace("\\bmod", " mod "))))
    text = _ALIAS.sub(lambda command: f"\\{_ALIASES[command[1]]}", text)
    text = _QUOTIENT.sub("/", _PRODUCT.sub("*", _DEGREE.sub("°", text)))
    text = text.replace("+/-", "\\pm ").replace("<=", "\\le ").replace(">=", "\\ge ").replace("->", "\\to ")
    text = _SCALE_OF_DEGREES.sub("°", text)
    text = _WORD_COMMANDS.sub(_command_of_word, text)
    text = _SHORT_BELOW.sub(r"\1{\2}", _SHORT_FRACTION.sub(r"\\frac{\1}", text))
    text = _REPEATING.sub(_repeating_decimal, text)
    text = _ONE_RAISED.sub(r"\1\2 ", text)
    text = _IN_DEGREES.sub("°", _CIRCLED_LIST.sub("", _EMPHASIS.sub(r"\1", text)))
    text = _BESIDE_CHINESE.sub("", " ".join(text.split()).replace(" ^", "^"))
    return _without_ends(_GROUPED.sub(lambda digits: digits[0].replace(",", ""), text))


def _mapped(run: str, table: dict[str, str]) -> str:
    return "".join(table[character] for character in run)


def _vulgar_fraction(match: re.Match[str]) -> str:
    return f" {unicodedata.normalize('NFKC', match[0]).replace(chr(0x2044), '/')} "


def _command_of_word(match: re.Match[str]) -> str:
    word = match[0].lower()
    return f"\\{ {'sqrt': 'sqrt*', 'infinity': 'infty'}.get(word, word) } "


def _repeating_decimal(match: re.Match[str]) -> str:
    """Return 0.1\\overline{6} as the fraction (16 - 1) / 90."""
    whole, fixed, period = match[1], match[2], match[3]
    before = int(f"{whole}{fixed}" or "0")
    above = int(f"{whole}{fixed}{period}") - before
    return f"\\frac{{{above}}}{{{(10 ** len(period) - 1) * 10 ** len(fixed)}}}"


def _without_ends(text: str) -> str:
    """Return the text without a full stop, emphasis, outer quotes and outer braces."""
    text = _BULLET.sub("", text.strip(), count=1)
    while True:
        shorter = text.strip(" `")
        shorter = shorter.rstrip(" ,;").removesuffix("\\\\")
        if shorter.endswith(".") and not shorter.endswith(".."):
            shorter = shorter[:-1]
        quoted = len(shorter) > 1 and shorter[0] == shorter[-1] and shorter[0] in "\"'*_"
        braced = (
            shorter[:1] == "{"
            and "," not in shorter
            and shorter.find("}") == len(shorter) - 1
            and shorter.rfind("{") == 0
        )
        if quoted or braced:
            shorter = shorter[1:-1]
        if shorter == text:
            return text
        text = shorter
