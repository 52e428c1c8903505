"""Put a sheet among blank pages or blank frames, to test nano with long inputs.

It is a needle in a haystack, the test that V2PE's paper uses for long inputs (arXiv 2412.09616). Only one
page has digits, so the question needs no page number. Lengths are in tokens and include the room for the
answer.
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
ANSWER_ROOM = 30  # tokens that are kept free for an answer of SHORT_KINDS


@dataclass(frozen=True, kw_only=True)
class Haystack:
    """How many blank pages surround a sheet.

    `length` is the number of tokens that prompt and answer may take. With `full`, blank pages fill all of it,
    otherwise a random part of it; a `length` of 0 has no room for any. Each prompt draws one of `media`. A
    page has five tiles, and a small page or a frame has one. `small` is the share of small pages among
    images.
    """

    length: int
    full: bool
    media: tuple[Medium, ...] = ("images",)
    small: float = 0.0


def blank_page(rng: np.random.Generator, *, large: bool) -> Image.Image:
    """Return a picture of paper like a sheet's, without ink."""
    side = SIDE * (LARGE_CELL if large else SMALL_CELL)
    grey = rng.normal(rng.uniform(215, 250), rng.uniform(2, 8), (side, side))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


class HaystackEncoder(NanoEncoder):
    """Puts every image at a random index among blank pages, and draws a delta for each page from `deltas`.

    It ignores the `delta` argument of its methods. The same seed and the same order of calls give the same
    draws.
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
        """Return a question with its image among blank pages, as a sample without targets."""
        return self._among_pages(question, "", image, all_text=False)

    def answered(
        self, question: str, answer: str, image: Image.Image | None, *, delta: float, all_text: bool = False
    ) -> Sample:
        """Return a question, with its image among blank pages, and its answer as a sample."""
        return self._among_pages(question, answer, image, all_text=all_text)

    def _among_pages(
        self, question: str, answer: str, image: Image.Image | None, *, all_text: bool
    ) -> Sample:
        page_ids, tiles = self._pages(question, answer, image)
        context = (
            *self.ids("<|im_start|>user\n"),
            *page_ids,
            *self.ids(question),
            *self.ids("<|im_end|>\n<|im_start|>assistant\n"),
        )
        reply = (*self.ids(answer), self.end_token) if answer else ()
        stacked_NHWC = np.concatenate(tiles) if tiles else None
        sample = self.sample(context, reply, stacked_NHWC, delta=1.0, all_text=all_text)
        deltas = self.rng.choice(self.deltas, size=len(tiles)).tolist()
        return Sample(sample.ids_T, sample.target_T, sample.weight_T, tuple(deltas), sample.tiles_NHWC)

    def _pages(
        self, question: str, answer: str, image: Image.Image | None
    ) -> tuple[tuple[int, ...], list[np.ndarray]]:
        """Return the tokens of all pages, and the tiles of each page."""
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
            if len(self._page_ids([*pages, blank], video=video)) > room:
                break
            pages.append(blank)
        index = int(rng.integers(len(pages)))
        pages[0], pages[index] = pages[index], pages[0]
        return self._page_ids(pages, video=video), pages

    def _tiles(self, image: Image.Image, *, video: bool) -> np.ndarray:
        """Return the tiles of a page; a frame is always resized to one tile."""
        side = TILING.tile_size
        return tile_image(image.resize((side, side)) if video else image, TILING)

    def _page_ids(self, pages: Sequence[np.ndarray], *, video: bool) -> tuple[int, ...]:
        """Return the tokens of pages, laid out as the server does it (`model.plugin.inputs.placeholders`)."""
        return tuple(
            token
            for number, tiles_NHWC in enumerate(pages, start=1)
            for token in (
                *(self.ids(f"Frame{number}: ") if video else ()),
                *self.image_run(tiles_NHWC),
            )
        )
