"""The published numbering of positions, written a second time in a simple way, and its golden file.

The rule is that of OpenGVLab/V2PE at f96f189, `get_rope_pos_id` in `modeling_internvl_chat.py`, version
`v2pe_fix`. It works on the token ids and the number of tiles of each image. Text up to and including `<img>`
adds 1 for each token. The image's tokens follow in steps of stride / 256. Then the count is rounded up, and
`</img>` and the text after it add 1 each. That code has one stride for all images, and its training version
draws one for each; the deltas here are such strides. Numbers are float32, as in that code.

`python -m tests.model.published_positions` writes golden/positions.json.
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
    """One image or frame: its number of tiles, thumbnail included, and its delta."""

    tiles: int
    delta: Fraction


Segment = int | Run
"""A number of text tokens, or an image."""


def tokens(segments: list[Segment], tokens_per_tile: int = TOKENS_PER_TILE) -> list[str]:
    """Return the kind of each token of the prompt."""
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
    """Return the position of each token, float32, computed with exact fractions."""
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
    """Return prompts by their names; every trained delta occurs in several of them."""
    trained_deltas = [Fraction(1, 2**k) for k in range(9)]
    frames: dict[str, list[Segment]] = {
        f"video of 8 frames, delta {delta}": [9, *[part for _ in range(8) for part in (4, Run(1, delta))], 12]
        for delta in trained_deltas
    }
    one: dict[str, list[Segment]] = {
        f"image of 12 tiles and thumbnail, delta {delta}": [7, Run(13, delta), 21] for delta in trained_deltas
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
        "a delta for each image": [part for delta in trained_deltas for part in (2, Run(5, delta))],
        "and back again": [part for delta in reversed(trained_deltas) for part in (Run(2, delta), 1)],
        "image and video": [
            6,
            Run(13, Fraction(1)),
            *[p for _ in range(4) for p in (4, Run(1, Fraction(1, 8)))],
            9,
        ],
    }


def summary(position_T: NDArray[np.float32], kinds: list[str]) -> dict[str, Any]:
    """Return a short form of a prompt's positions for the golden file.

    It has the positions of all tokens that aren't context tokens, those of the first and last context token
    of each image, and a digest of all positions.
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
