"""A sheet among blank pages, as several images or as a video's frames: long inputs that nano can be asked.

The question stays as it is: only one page has anything on it (a needle in a haystack, as V2PE's own paper
measures long inputs, arXiv 2412.09616). Lengths are in tokens, the room for the answer included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerFast

from model.images.tiling import tile_image
from ttscaling.nano_tasks.sheets import LARGE_CELL, SIDE, SMALL_CELL
from ttscaling.train.nano.network.architecture import TILING
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.samples.sample import Sample

Medium = Literal["images", "video"]
ANSWER_ROOM = 30  # tokens that an answer of SHORT_KINDS may take


@dataclass(frozen=True, kw_only=True)
class Haystack:
    """How much there is around a sheet.

    `length` is what prompt and answer may take; with `full` blank pages fill it up, else a random part of it.
    `media` are drawn from; 0 pages fit into a `length` of 0. A page is five tiles, or one where it is small,
    and so is a frame: `small` is the share of small pages among images.
    """

    length: int
    full: bool
    media: tuple[Medium, ...] = ("images",)
    small: float = 0.0


def blank_page(rng: np.random.Generator, *, large: bool) -> Image.Image:
    """Paper like a sheet's, without ink."""
    side = SIDE * (LARGE_CELL if large else SMALL_CELL)
    grey = rng.normal(rng.uniform(215, 250), rng.uniform(2, 8), (side, side))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


class HaystackEncoder(NanoEncoder):
    """Puts every image between blank pages, at a random place, and lets each page draw its delta.

    The deltas that callers name are not heeded: `deltas` are what is drawn from, one of them or the ladder.
    The draws are the same for the same seed and order of calls.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        haystack: Haystack,
        *,
        deltas: Sequence[float],
        seed: int,
    ):
        super().__init__(tokenizer)
        self.haystack = haystack
        self.deltas = tuple(deltas)
        self.rng = np.random.default_rng([seed, 6])

    def prompt(self, question: str, image: Image.Image | None, *, delta: float) -> Sample:
        """As the parent's, between blank pages."""
        return self._among_pages(question, "", image, whole=False)

    def answered(
        self, question: str, answer: str, image: Image.Image | None, *, delta: float, whole: bool = False
    ) -> Sample:
        """As the parent's, between blank pages."""
        return self._among_pages(question, answer, image, whole=whole)

    def _among_pages(self, question: str, answer: str, image: Image.Image | None, *, whole: bool) -> Sample:
        shown, tiles = self._pages(question, answer, image)
        context = (
            *self.ids("<|im_start|>user\n"),
            *shown,
            *self.ids(question),
            *self.ids("<|im_end|>\n<|im_start|>assistant\n"),
        )
        reply = (*self.ids(answer), self.end_token) if answer else ()
        stacked_NHWC = np.concatenate(tiles) if tiles else None
        sample = self.sample(context, reply, stacked_NHWC, delta=1.0, whole=whole)
        drawn = self.rng.choice(self.deltas, size=len(tiles)).tolist()
        return Sample(sample.ids_T, sample.target_T, sample.weight_T, tuple(drawn), sample.tiles_NHWC)

    def _pages(
        self, question: str, answer: str, image: Image.Image | None
    ) -> tuple[tuple[int, ...], list[np.ndarray]]:
        """The tokens of all pages, and each one's tiles."""
        if image is None:
            return (), []
        rng, haystack = self.rng, self.haystack
        video = haystack.media[rng.integers(len(haystack.media))] == "video"
        sheet = self._tiles(image, video=video)
        room = haystack.length - max(ANSWER_ROOM, len(self.ids(answer))) - len(self.user(question))
        room = room if haystack.full else int(rng.integers(max(room, 0) + 1))
        pages = [sheet]
        while True:
            large = not video and rng.random() >= haystack.small
            blank = self._tiles(blank_page(rng, large=large), video=video)
            if len(self._shown([*pages, blank], video=video)) > room:
                break
            pages.append(blank)
        place = int(rng.integers(len(pages)))
        pages[0], pages[place] = pages[place], pages[0]
        return self._shown(pages, video=video), pages

    def _tiles(self, image: Image.Image, *, video: bool) -> np.ndarray:
        """A frame is one tile, whatever its size."""
        side = TILING.tile_size
        return tile_image(image.resize((side, side)) if video else image, TILING)

    def _shown(self, pages: Sequence[np.ndarray], *, video: bool) -> tuple[int, ...]:
        """As the server shows images and frames (`model.plugin.inputs.placeholders`)."""
        return tuple(
            token
            for number, tiles_NHWC in enumerate(pages, start=1)
            for token in (
                *(self.ids(f"Frame{number}: ") if video else ()),
                *self.image_run(tiles_NHWC),
            )
        )
