"""The content of LaTeX's boxes, in which a solution states its final answer."""

import re
from itertools import pairwise

from .notation import plain_notation
from .units import unit_symbol

_BOX = re.compile(r"\\(?:boxed|fbox)\s?(?:(\{)|(?=[^\s{])(\\?[A-Za-z]+|[-+]?[\d.]*\d|\S))")
_BETWEEN = re.compile(
    r"[\s$,;]*(?:and|or|和|或|与)?[\s$]*"
    r"(?:\\?[A-Za-z](?:_\{?\w\}?)?\s?=\s?|\\text\{ ?(?:and|or) ?\}\s?)?[\s$]*"
)
_MINUS = re.compile(r"(?:^|[\s$=({,:])-$")
_TAIL = re.compile(
    r"(?:\s?(?:\\?%|\^\{?\\circ\}?|°|(?:\\times|\\cdot)\s?10\s?\^(?:\{[-+]?\d+\}|\d)"
    r"|\\sqrt\{[^{}$\n]{1,20}\}|\\pi(?![A-Za-z])))+"
)
_UNIT = re.compile(
    r"(?:\\[,;: ]|~|\s)?"
    r"(?:\\(?:text|mathrm|rm)\s?\{\s?(?P<written>[^{}$\n]{1,16}?)\s?\}|\$?\s?(?P<plain>[^\W\d_][\w²³/^·]{0,15}))"
    r"(?=[\s$.,;)\]\\]|$)"
)
_OR = re.compile(r"(?<![A-Za-z])or(?![A-Za-z])|或")
_NAME = re.compile(r"(?:^|(?<=[\s$,;.(]))(?:\\?[A-Za-z](?:_\{?\w\}?)?)\s?=\s?$")


def last_box(text: str) -> str | None:
    """Return the content of the last box, or of the last boxes that stand side by side; None without a box.

    Boxes side by side are parts of one answer: x=\\boxed{1}, y=\\boxed{2} states "x=1, y=2", and
    \\boxed{5} or \\boxed{6} states "5 or 6". Equal boxes state one answer. A box whose braces don't balance
    is none.
    """
    boxes = _boxes(text)
    if not boxes:
        return None
    first = len(boxes) - 1
    while first > 0 and _side_by_side(text[boxes[first - 1][3] : boxes[first][0]]):
        first -= 1
    if first == len(boxes) - 1:
        return _whole(text, *boxes[-1])
    parts = []
    for start, inner_start, inner_end, _ in boxes[first:]:
        name = _NAME.search(text[max(0, start - 12) : start])
        parts.append(f"{name[0] if name else ''}{text[inner_start:inner_end].strip()}")
    if len(set(parts)) == 1:
        return _whole(text, *boxes[-1])
    between = [text[box[3] : following[0]] for box, following in pairwise(boxes[first:])]
    joints = [" or " if _OR.search(joint) else ", " for joint in between]
    return "".join(f"{part}{joint}" for part, joint in zip(parts, [*joints, ""], strict=True))


def _whole(text: str, start: int, inner_start: int, inner_end: int, end: int) -> str:
    """Return the content of a box with its sign, its factor, its percent sign and its unit outside of it."""
    sign = "-" if _MINUS.search(text[max(0, start - 4) : start]) else ""
    tail = _TAIL.match(text, end)
    unit = _UNIT.match(text, tail.end() if tail else end)
    behind = tail[0] if tail else ""
    symbol = (unit["written"] or unit["plain"]) if unit else None
    if symbol is not None and unit_symbol(plain_notation(symbol)) is not None:
        behind += f" {symbol}"
    return f"{sign}{text[inner_start:inner_end].strip()}{behind}"


def _side_by_side(between: str) -> bool:
    return len(between) < 40 and "\n" not in between and _BETWEEN.fullmatch(between) is not None


def _boxes(text: str) -> list[tuple[int, int, int, int]]:
    """Return start, start of the content, end of the content and end of each outermost box."""
    closed = _closing_braces(text)
    boxes: list[tuple[int, int, int, int]] = []
    for match in _BOX.finditer(text):
        if match[1] is None:
            box = match.start(), match.start(2), match.end(2), match.end()
        elif match.end() in closed:
            box = match.start(), match.end(), closed[match.end()], closed[match.end()] + 1
        else:
            continue
        if boxes and box[3] <= boxes[-1][3]:
            boxes[-1] = box  # a box within a box: the inner one states the answer
        else:
            boxes.append(box)
    return boxes


def _closing_braces(text: str) -> dict[int, int]:
    """Return the place of the closing brace for the place behind each opening one."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return {}
    opened: list[int] = []
    closed: dict[int, int] = {}
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            opened.append(brace.end())
        elif opened:
            closed[opened.pop()] = brace.start()
    return closed
