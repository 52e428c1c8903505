"""Nano conversations as training samples: ChatML around text and image runs, token by token."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerFast

from model.images.tiling import tile_image
from model.v2pe import TRAINED_DELTAS
from ttscaling.train.samples.sample import Sample, token_weight

from .architecture import TILING, TOKENS_PER_TILE
from .tokenizer import IMAGE_CONTEXT


def random_delta(rng: np.random.Generator) -> float:
    """One of the published deltas: each training image draws its own (InternVL3 section 2.1)."""
    return TRAINED_DELTAS[rng.integers(len(TRAINED_DELTAS))]


class NanoEncoder:
    """Turns chat turns into token ids, the way the tokenizer's chat template would."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        self.image_token: int = tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT)
        self.end_token: int = tokenizer.eos_token_id
        # The same few thousand sentences come back all the time.
        self.ids = lru_cache(maxsize=100_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def image_run(self, tiles_NHWC: np.ndarray) -> tuple[int, ...]:
        """`<img>`, the tiles' context tokens, `</img>`, and the newline that the chat template puts there."""
        return self.ids("<img>" + IMAGE_CONTEXT * (TOKENS_PER_TILE * len(tiles_NHWC)) + "</img>\n")

    def user(self, text: str, tiles_NHWC: np.ndarray | None = None) -> tuple[int, ...]:
        """A user turn and the header of the assistant's."""
        image = self.image_run(tiles_NHWC) if tiles_NHWC is not None else ()
        return (
            *self.ids("<|im_start|>user\n"),
            *image,
            *self.ids(text),
            *self.ids("<|im_end|>\n<|im_start|>assistant\n"),
        )

    def prompt(self, question: str, image: Image.Image | None, *, delta: float) -> Sample:
        """A question up to where the answer begins; nothing supervised."""
        tiles_NHWC = tile_image(image, TILING) if image is not None else None
        return self.sample(self.user(question, tiles_NHWC), (), tiles_NHWC, delta=delta)

    def answered(
        self, question: str, answer: str, image: Image.Image | None, *, delta: float, whole: bool = False
    ) -> Sample:
        """A question and its answer; the loss is on the answer and its end, with `whole` on all text."""
        tiles_NHWC = tile_image(image, TILING) if image is not None else None
        context = self.user(question, tiles_NHWC)
        reply = (*self.ids(answer), self.end_token)
        return self.sample(context, reply, tiles_NHWC, delta=delta, whole=whole)

    def sample(
        self,
        context: Sequence[int],
        reply: Sequence[int],
        tiles_NHWC: np.ndarray | None,
        *,
        delta: float,
        whole: bool = False,
    ) -> Sample:
        """Next-token targets on `reply` (with `whole` on all text), each weighing 1/sqrt(their number)."""
        ids_T = np.array([*context, *reply], dtype=np.int64)
        target_T = np.append(ids_T[1:], self.end_token)
        supervised_T = np.zeros(len(ids_T), dtype=bool)
        supervised_T[0 if whole else len(context) - 1 : -1] = bool(reply)
        supervised_T &= target_T != self.image_token  # visual tokens are context only
        weight = token_weight(int(supervised_T.sum()), "square")
        return Sample(
            ids_T=ids_T,
            target_T=target_T,
            weight_T=np.where(supervised_T, weight, 0.0).astype(np.float32),
            deltas=() if tiles_NHWC is None else (delta,),
            tiles_NHWC=tiles_NHWC,
        )
