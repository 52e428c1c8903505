"""The boxes in an answer, in the form that InternVL writes: <ref>cat</ref><box>[[10, 20, 30, 40]]</box>.

The numbers are left, top, right and bottom in thousandths of the image's width and height. So a box is the
same whatever the size of the image was (InternVL's documentation, "Grounding").
"""

import re
from dataclasses import dataclass

SCALE = 1000
PIECE = re.compile(r"<ref>(?P<label>.*?)</ref>|<box>(?P<box>.*?)</box>", re.DOTALL)
NUMBER = r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*"
FOUR = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")


@dataclass(frozen=True)
class Box:
    """A box with its label, which may be empty; the edges are in thousandths of the image, from 0 to 1000."""

    label: str
    left: float
    top: float
    right: float
    bottom: float

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in pixels of an image of this size."""
        return (
            round(self.left * width / SCALE),
            round(self.top * height / SCALE),
            round(self.right * width / SCALE),
            round(self.bottom * height / SCALE),
        )


def boxes_in(text: str) -> tuple[Box, ...]:
    """Return the boxes in an answer, each with the label that stands before it.

    Edges outside of the image are moved to its border, and edges in the wrong order are swapped. Text that
    holds no four numbers is no box.
    """
    boxes, label = [], ""
    for piece in PIECE.finditer(text):
        if piece["label"] is not None:
            label = " ".join(piece["label"].split())
            continue
        for numbers in FOUR.findall(piece["box"]):
            left, top, right, bottom = (min(max(float(number), 0.0), float(SCALE)) for number in numbers)
            boxes.append(Box(label, min(left, right), min(top, bottom), max(left, right), max(top, bottom)))
    return tuple(boxes)
