"""The published numbering of positions, written a second time and slowly, and the golden file made with it.

The rule is that of OpenGVLab/V2PE at f96f189, `get_rope_pos_id` in `modeling_internvl_chat.py`, version
`v2pe_fix`, which works on the token ids and one tile count for each image: text up to and including `<img>`
counts on by 1; the image's tokens follow in steps of stride / 256; then the count is rounded up, and `</img>`
and the text behind it count on by 1. There one stride holds for all images; its training version draws one
for each, which is what the deltas here are. Numbers are float32, as there.

`python -m tests.model.published_positions` writes golden/positions.json anew.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parent / "golden" / "positions.json"
TOKENS_PER_TILE = 256
START, END, CONTEXT, TEXT = "<img>", "</img>", "<IMG_CONTEXT>", "text"


@dataclass(frozen=True)
class Run:
    """One framed image or frame: how many tiles, thumbnail included, and its delta."""

    tiles: int
    delta: Fraction


Segment = int | Run
"""So many tokens of text, or an image."""


def tokens(segments: list[Segment], tokens_per_tile: int = TOKENS_PER_TILE) -> list[str]:
    """What each token of the prompt is."""
    result: list[str] = []
    for segment in segments:
        if isinstance(segment, Run):
            result += [START, *[CONTEXT] * (tokens_per_tile * segment.tiles), END]
        else:
            result += [TEXT] * segment
    return result


def published(
    kinds: list[str], runs: list[Run], tokens_per_tile: int = TOKENS_PER_TILE
) -> NDArray[np.float32]:
    """The position of each token, exact fractions throughout and float32 at the end."""
    result: list[Fraction] = []
    last = Fraction(-1)
    remaining = iter(runs)
    index = 0
    while index < len(kinds):
        last += 1
        result.append(last)
        if kinds[index] == START:
            run = next(remaining)
            result += [last + k * run.delta for k in range(1, tokens_per_tile * run.tiles + 1)]
            last = Fraction(math.ceil(result[-1]))
            index += tokens_per_tile * run.tiles
        index += 1
    return np.array([float(position) for position in result], dtype=np.float32)


def cases() -> dict[str, list[Segment]]:
    """Prompts by name; every delta of the ladder occurs in several."""
    ladder = [Fraction(1, 2**k) for k in range(9)]
    frames: dict[str, list[Segment]] = {
        f"video of 8 frames, delta {delta}": [9, *[part for _ in range(8) for part in (4, Run(1, delta))], 12]
        for delta in ladder
    }
    one: dict[str, list[Segment]] = {
        f"image of 12 tiles and thumbnail, delta {delta}": [7, Run(13, delta), 21] for delta in ladder
    }
    return {
        "text": [40],
        **one,
        **frames,
        "one tile": [3, Run(1, Fraction(1, 64)), 3],
        "image at the start": [Run(7, Fraction(1, 4)), 5],
        "image at the end": [5, Run(7, Fraction(1, 256))],
        "nothing but an image": [Run(1, Fraction(1, 16))],
        "images next to each other": [Run(1, Fraction(1, 256)), Run(3, Fraction(1, 2)), Run(1, Fraction(1))],
        "a delta for each image": [part for delta in ladder for part in (2, Run(5, delta))],
        "and back again": [part for delta in reversed(ladder) for part in (Run(2, delta), 1)],
        "image and video": [
            6,
            Run(13, Fraction(1)),
            *[p for _ in range(4) for p in (4, Run(1, Fraction(1, 8)))],
            9,
        ],
    }


def summary(position_T: NDArray[np.float32], kinds: list[str]) -> dict[str, Any]:
    """A prompt's positions in few numbers: those of all but context tokens, of the first and last context
    token of each image, and a digest of all.
    """
    edges = [
        float(position)
        for index, (kind, position) in enumerate(zip(kinds, position_T, strict=True))
        if kind != CONTEXT or kinds[index - 1] == START or kinds[index + 1] == END
    ]
    digest = hashlib.sha256(position_T.astype("<f4").tobytes()).hexdigest()
    return {"tokens": len(kinds), "edges": edges, "sha256": digest}


def main() -> None:
    golden = {}
    for name, segments in cases().items():
        kinds = tokens(segments)
        runs = [segment for segment in segments if isinstance(segment, Run)]
        golden[name] = summary(published(kinds, runs), kinds)
    GOLDEN.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items())
    GOLDEN.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
