"""Build HTML from nested elements, in which every text is escaped."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

Child = Element | str


def element(tag: str, *children: Child | Iterable[Child], **attributes: str) -> Element:
    """Return an element. `class_` is the attribute `class`, as a keyword can't be."""
    built = Element(tag, {name.rstrip("_"): clean(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in flat(children):
        if isinstance(child, Element):
            built.append(child)
            last = child
        elif last is None:
            built.text = (built.text or "") + clean(child)
        else:
            last.tail = (last.tail or "") + clean(child)
    return built


def as_text(built: Element) -> str:
    """Return an element as HTML."""
    return tostring(built, encoding="unicode", method="html")


def clean(text: str) -> str:
    """Return a text without the control characters and halves of pairs that HTML can't hold."""
    return "".join(
        char
        if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f")
        else "\N{REPLACEMENT CHARACTER}"
        for char in text.encode(errors="replace").decode()
    )


def flat(children: Iterable[Child | Iterable[Child]]) -> Iterable[Child]:
    """Yield the children, those in lists as well."""
    for child in children:
        if isinstance(child, Element | str):
            yield child
        else:
            yield from child
