"""Where images stand in a prompt, and the run of tokens that each becomes: `<img>`, context tokens, `</img>`.

An image is announced by one `<IMG_CONTEXT>` (what our chat requests and transformers' templates write) or by
the text `<image>` (what prompts in OpenGVLab's style hold). Source: OpenGVLab/InternVL
`modeling_internvl_chat.py`, `chat`.
"""

from dataclasses import dataclass
from typing import Protocol

IMAGE_START = "<img>"
IMAGE_END = "</img>"
IMAGE_CONTEXT = "<IMG_CONTEXT>"
IMAGE_TEXT = "<image>"


class Tokenizer(Protocol):
    """What this module needs of a tokenizer; transformers' and vLLM's both have it."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]: ...
    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...
    def decode(self, ids: list[int]) -> str: ...


@dataclass(frozen=True)
class ImageTokens:
    """Ids of the three tokens that frame and fill an image."""

    start: int
    end: int
    context: int


def image_tokens(tokenizer: Tokenizer) -> ImageTokens:
    """The ids of the image tokens in this tokenizer.

    Raises:
        ValueError: it lacks one: the tokenizer isn't InternVL's.
    """
    names = [IMAGE_START, IMAGE_END, IMAGE_CONTEXT]
    ids = tokenizer.convert_tokens_to_ids(names)
    unknown = getattr(tokenizer, "unk_token_id", None)
    missing = [name for name, token in zip(names, ids, strict=True) if token is None or token == unknown]
    if missing:
        raise ValueError(
            f"the tokenizer has no {', '.join(missing)}: it isn't that of an InternVL checkpoint"
        )
    start, end, context = (int(token) for token in ids if token is not None)
    return ImageTokens(start=start, end=end, context=context)


def image_run(tokens: ImageTokens, visual_tokens: int) -> list[int]:
    """The ids that stand for one image of `visual_tokens` context tokens: tiles and thumbnail are one run."""
    return [tokens.start, *[tokens.context] * visual_tokens, tokens.end]


def place_images(prompt: list[int], num_images: int, tokens: ImageTokens, tokenizer: Tokenizer) -> list[int]:
    """The prompt with exactly one context token where each image goes.

    Raises:
        ValueError: the placeholders don't match the images.
    """
    found = prompt.count(tokens.context)
    if found == num_images:
        return prompt
    # `<image>` is ordinary text and may be split or merged with its neighbours by the tokenizer: look for it
    # as text.
    text = tokenizer.decode(prompt) if found == 0 else ""
    if text.count(IMAGE_TEXT) == num_images:
        return tokenizer.encode(text.replace(IMAGE_TEXT, IMAGE_CONTEXT), add_special_tokens=False)
    raise ValueError(
        f"the prompt has {found or text.count(IMAGE_TEXT)} image placeholders for {num_images} images: "
        f"write {IMAGE_CONTEXT} or {IMAGE_TEXT} once for each, and neither of them elsewhere in the text"
    )
