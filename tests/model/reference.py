"""The reference for the engine: transformers' InternVL with fractional position ids and without a cache.

Nothing here uses our model package. Tiles, runs of context tokens and positions are computed in a second,
simple way. So an error stays unnoticed only if it is made twice.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, InternVLForConditionalGeneration

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Step:
    """One greedy step: the chosen token, and the log-probabilities (vocabulary,) of all tokens."""

    token: int
    logprobs_V: torch.Tensor


def published_grid(width: int, height: int, tile: int, least: int, most: int) -> tuple[int, int]:
    """Return (columns, rows) by the published preprocessing's search (`find_closest_aspect_ratio`)."""
    ratios = set()
    for n in range(least, most + 1):
        for i in range(1, n + 1):
            for j in range(1, n + 1):
                if least <= i * j <= most:
                    ratios.add((i, j))
    best_difference, best = float("inf"), (1, 1)
    for i, j in sorted(ratios, key=lambda ratio: ratio[0] * ratio[1]):
        difference = abs(width / height - i / j)
        if difference < best_difference:
            best_difference, best = difference, (i, j)
        elif difference == best_difference and width * height > 0.5 * tile * tile * i * j:
            best = (i, j)
    return best


def published_tiles(image: Image.Image, tile: int, least: int, most: int) -> list[Image.Image]:
    """Return the tiles of the published preprocessing (`dynamic_preprocess` with a thumbnail)."""
    image = image.convert("RGB")
    columns, rows = published_grid(image.width, image.height, tile, least, most)
    resized = image.resize((tile * columns, tile * rows), Image.Resampling.BICUBIC)
    tiles = []
    for row in range(rows):
        for column in range(columns):
            left, top = column * tile, row * tile
            tiles.append(resized.crop((left, top, left + tile, top + tile)))
    if len(tiles) != 1:
        tiles.append(image.resize((tile, tile), Image.Resampling.BICUBIC))
    return tiles


def naive_positions(ids: list[int], context: int, delta: float) -> list[float]:
    """Return the positions of V2PE, computed token by token."""
    result = [0.0]
    for previous, token in pairwise(ids):
        if token == context:
            result.append(result[-1] + delta)
        elif previous == context:
            result.append(ceil(result[-1]) + 1.0)
        else:
            result.append(result[-1] + 1.0)
    return result


class Reference:
    """transformers' model with the tokenizer and the tiling of one checkpoint."""

    def __init__(
        self, model: InternVLForConditionalGeneration, directory: Path, tile: int, most: int
    ) -> None:
        self.model, self.tile, self.most = model, tile, most
        self.tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)

    def generate(
        self,
        prompt: str,
        images: list[Image.Image],
        delta: float,
        steps: int,
        frames: list[Image.Image] | None = None,
    ) -> list[Step]:
        """Return the steps of greedy decoding; each step computes the complete sequence again.

        Args:
            prompt: it has `<image>` for each image and, after them, `<video>` if there are frames.
            frames: the frames of the video; each is one tile, as published.
        """
        tiles = [published_tiles(image, self.tile, 1, self.most) for image in images]
        tiles += [published_tiles(frame, self.tile, 1, 1) for frame in frames or []]
        frame_lines = [f"Frame{number}: <image>" for number in range(1, len(frames or []) + 1)]
        ids = self._ids(prompt.replace("<video>", "\n".join(frame_lines)), [len(t) for t in tiles])
        result = []
        for _ in range(steps):
            logprobs = self._logits(ids, tiles, delta)[-1].log_softmax(-1)
            ids.append(int(logprobs.argmax()))
            result.append(Step(ids[-1], logprobs))
        return result

    def judge(self, prefixes: list[str], images: list[Image.Image], delta: float) -> list[float]:
        """Return P(+), of + and - as the next token, after each prefix of one conversation.

        The last prefix is the complete conversation. All values come from one pass over it.
        """
        tiles = [published_tiles(image, self.tile, 1, self.most) for image in images]
        lengths = [len(self._ids(prefix, [len(t) for t in tiles])) for prefix in prefixes]
        labels = [self.tokenizer.encode(label, add_special_tokens=False)[0] for label in "+-"]
        logits_TV = self._logits(self._ids(prefixes[-1], [len(t) for t in tiles]), tiles, delta)
        return [float(logits_TV[length - 1, labels].softmax(-1)[0]) for length in lengths]

    def _logits(self, ids: list[int], tiles: list[list[Image.Image]], delta: float) -> torch.Tensor:
        """Return the logits (T, vocabulary), float32."""
        pixels = [(np.asarray(tile) / 255 - MEAN) / STD for group in tiles for tile in group]
        positions = naive_positions(ids, self.model.config.image_token_id, delta)
        with torch.inference_mode():
            output = self.model(
                input_ids=torch.tensor([ids]),
                pixel_values=torch.from_numpy(np.stack(pixels)).float().permute(0, 3, 1, 2)
                if pixels
                else None,
                position_ids=torch.tensor([positions]),
                # Without a mask, transformers treats every step other than 1 as the border of a packed
                # sample.
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                use_cache=False,
            )
        logits_TV: torch.Tensor = output.logits[0].float()
        return logits_TV

    def _ids(self, prompt: str, tile_counts: list[int]) -> list[int]:
        per_tile = (self.tile // 14 // 2) ** 2
        for count in tile_counts:
            run = "<img>" + "<IMG_CONTEXT>" * (per_tile * count) + "</img>"
            prompt = prompt.replace("<image>", run, 1)
        return self.tokenizer.encode(prompt, add_special_tokens=False)
