"""Encode nano's conversations as training samples."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerFast

from model.image_tokens import IMAGE_CONTEXT, IMAGE_END, IMAGE_START
from model.images.tiling import tile_image
from model.v2pe import TRAINED_DELTAS
from ttscaling.train.samples.sample import Sample, token_weight

from .architecture import TILING, TOKENS_PER_TILE


def random_delta(rng: np.random.Generator) -> float:
    """Return one of the published deltas; each training image draws one (InternVL3 section 2.1)."""
    return TRAINED_DELTAS[rng.integers(len(TRAINED_DELTAS))]


class NanoEncoder:
    """Encodes chat turns as the tokenizer's chat template would."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        self.image_token: int = tokenizer.convert_tokens_to_ids(IMAGE_CONTEXT)
        self.end_token: int = tokenizer.eos_token_id
        # Training repeats a few thousand sentences, so their ids are cached.
        self.ids = lru_cache(maxsize=100_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def image_run(self, tiles_NHWC: np.ndarray) -> tuple[int, ...]:
        """Return the tokens of an image: `<img>`, the tiles' context tokens, `</img>`, and a newline."""
        return self.ids(IMAGE_START + IMAGE_CONTEXT * (TOKENS_PER_TILE * len(tiles_NHWC)) + f"{IMAGE_END}\n")

    def user(self, text: str, tiles_NHWC: np.ndarray | None = None) -> tuple[int, ...]:
        """Return the tokens of a user turn and of the header of the assistant's turn."""
        image = self.image_run(tiles_NHWC) if tiles_NHWC is not None else ()
        return (
            *self.ids("<|im_start|>user\n"),
            *image,
            *self.ids(text),
            *self.ids("<|im_end|>\n<|im_start|>assistant\n"),
        )

    def prompt(self, question: str, image: Image.Image | None, *, delta: float) -> Sample:
        """Return a question, up to the token where the answer begins, as a sample without targets."""
        tiles_NHWC = tile_image(image, TILING) if image is not None else None
        return self.sample(self.user(question, tiles_NHWC), (), tiles_NHWC, delta=delta)

    def answered(
        self, question: str, answer: str, image: Image.Image | None, *, delta: float, all_text: bool = False
    ) -> Sample:
        """Return a question with its answer as a sample.

        The loss is on the answer and its end token, or with `all_text` on all text tokens.
        """
        tiles_NHWC = tile_image(image, TILING) if image is not None else None
        context = self.user(question, tiles_NHWC)
        reply = (*self.ids(answer), self.end_token)
        return self.sample(context, reply, tiles_NHWC, delta=delta, all_text=all_text)

    def sample(
        self,
        context: Sequence[int],
        reply: Sequence[int],
        tiles_NHWC: np.ndarray | None,
        *,
        delta: float,
        all_text: bool = False,
    ) -> Sample:
        """Return a sample whose next-token targets are on `reply`, or with `all_text` on all text tokens.

        Each target weighs 1/sqrt(number of targets).
        """
        ids_T = np.array([*context, *reply], dtype=np.int64)
        target_T = np.append(ids_T[1:], self.end_token)
        supervised_T = np.zeros(len(ids_T), dtype=bool)
        supervised_T[0 if all_text else len(context) - 1 : -1] = bool(reply)
        supervised_T &= target_T != self.image_token  # visual tokens are no targets
        weight = token_weight(int(supervised_T.sum()), "square")
        return Sample(
            ids_T=ids_T,
            target_T=target_T,
            weight_T=np.where(supervised_T, weight, 0.0).astype(np.float32),
            deltas=() if tiles_NHWC is None else (delta,),
            tiles_NHWC=tiles_NHWC,
        )
