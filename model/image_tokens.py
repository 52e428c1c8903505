"""The tokens of an image, the texts that stand for media in a prompt, and the labels of frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

IMAGE_START = "<img>"
IMAGE_END = "</img>"
IMAGE_CONTEXT = "<IMG_CONTEXT>"
"""Special tokens of the tokenizer. An image is IMAGE_START, a run of IMAGE_CONTEXT, and IMAGE_END."""

IMAGE_TEXT = "<image>"
VIDEO_TEXT = "<video>"
"""Ordinary text that stands for an image or a video in prompts of OpenGVLab's style."""

GROUNDING_TOKENS = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")
"""What InternVL's prompts and answers write around an object's name and its place in an image."""


class Tokenizer(Protocol):
    """The methods that prompts with media need; the tokenizers of transformers and vLLM have them."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]: ...
    def encode(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False
    ) -> list[int]: ...
    def decode(self, ids: list[int]) -> str: ...
    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...
    @property
    def all_special_tokens(self) -> list[str]: ...


@dataclass(frozen=True)
class ImageTokens:
    """The ids of the three tokens that frame and fill an image."""

    start: int
    end: int
    context: int


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}" if hour else f"{minute:02d}:{second:02d}"


def image_tokens(tokenizer: Tokenizer) -> ImageTokens:
    """Return the ids of the image tokens in a tokenizer.

    Raises:
        ValueError: the tokenizer lacks one of them, so it isn't InternVL's.
    """
    names = [IMAGE_START, IMAGE_END, IMAGE_CONTEXT]
    ids = tokenizer.convert_tokens_to_ids(names)
    unknown = getattr(tokenizer, "unk_token_id", None)
    missing = [name for name, token in zip(names, ids, strict=True) if token is None or token == unknown]
    if missing:
        raise ValueError(
            f"the tokenizer has no {', '.join(missing)}, so it isn't an InternVL tokenizer: "
            "use the tokenizer files of an InternVL checkpoint"
        )
    start, end, context = (int(token) for token in ids if token is not None)
    return ImageTokens(start=start, end=end, context=context)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of a tokenizer's special tokens, apart from `GROUNDING_TOKENS`, by their texts."""
    texts = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    texts = [text for text in {*texts, *tokenizer.all_special_tokens} if text not in GROUNDING_TOKENS]
    ids = tokenizer.convert_tokens_to_ids(texts)
    return {text: number for text, number in zip(texts, ids, strict=True) if number is not None}


def frame_labels(num_frames: int, times_F: Sequence[float] | None = None) -> list[str]:
    """Return the text that stands in front of each frame.

    It is "Frame1: ", or "Frame1 (00:12): " where `times_F` gives the seconds at which frames are shown.
    """
    if times_F is None:
        return [f"Frame{number}: " for number in range(1, num_frames + 1)]
    return [f"Frame{number} ({_clock(time)}): " for number, time in enumerate(times_F, start=1)]
