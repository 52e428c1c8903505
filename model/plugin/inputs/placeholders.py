"""Where images and videos stand in a prompt, and what each becomes: framed runs of context tokens.

An image is announced by one `<IMG_CONTEXT>` (what our chat requests and transformers' templates write) or by
the text `<image>` (what prompts in OpenGVLab's style hold), a video by `<video>`. An image becomes `<img>`,
its context tokens, `</img>`; a video one such run for every frame, each in a line "Frame1: ". Source:
OpenGVLab/InternVL `modeling_internvl_chat.py`, `chat`; transformers `processing_internvl.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.image_tokens import IMAGE_CONTEXT, IMAGE_TEXT, VIDEO_TEXT, ImageTokens, Tokenizer

# Stand in a placed prompt for what vLLM fills in. No tokenizer has negative ids, so text can't hold them.
IMAGE_MARKER, FRAME_MARKER, DELTA_MARKER = -1, -2, -3


@dataclass(frozen=True)
class MediaSlot:
    """Where an image, or one frame of a video, stands in a placed prompt.

    `index` is the place's in the ids; `item` counts images, and frames of all videos, each from 0; `medium`
    counts images and videos together, in the order of the prompt.
    """

    index: int
    modality: Literal["image", "video"]
    item: int
    medium: int


@dataclass(frozen=True)
class PromptWithSlots:
    """A prompt's ids with `<img>`, a place and `</img>` for every image and frame."""

    ids: tuple[int, ...]
    slots: tuple[MediaSlot, ...]

    def medium_of_tokens(self, num_tokens: Sequence[int]) -> NDArray[np.int64]:
        """(T,) over the prompt once its n-th place has become `num_tokens[n]` context tokens.

        Holds the number of the image or video that a visual token belongs to, -1 for text.
        """
        repeats = np.ones(len(self.ids), dtype=np.int64)
        medium = np.full(len(self.ids), -1)
        for slot, count in zip(self.slots, num_tokens, strict=True):
            repeats[slot.index], medium[slot.index] = count, slot.medium
        return np.repeat(medium, repeats)

    def with_delta_markers(self, deltas: Sequence[float]) -> tuple[list[int], list[float]]:
        """The ids with a place for a delta instead of `<img>` where another begins to hold, and those deltas.

        Args:
            deltas: one for each image and video, in the order of the prompt.
        """
        ids, announced = list(self.ids), list[float]()
        for slot in self.slots:
            if not announced or announced[-1] != deltas[slot.medium]:
                ids[slot.index - 1] = DELTA_MARKER
                announced.append(deltas[slot.medium])
        return ids, announced


def find_media_slots(
    prompt: Sequence[int],
    num_images: int,
    videos: Sequence[Sequence[str]],
    tokens: ImageTokens,
    tokenizer: Tokenizer,
) -> PromptWithSlots:
    """Finds where the images and videos of a prompt go.

    Args:
        prompt: token ids.
        num_images: how many images there are.
        videos: for each video the labels of its frames.
        tokens: of this tokenizer.
        tokenizer: for placeholders that are text.

    Raises:
        ValueError: the placeholders don't match the images and videos.
    """
    contexts = prompt.count(tokens.context)
    announced: list[Literal["image", "video"]] = ["image"] * num_images
    ids = list(prompt)
    if videos or contexts != num_images:
        # `<image>` and `<video>` are ordinary text and may be split or merged with their neighbours by the
        # tokenizer: look for them as text.
        image_text = IMAGE_CONTEXT if contexts else IMAGE_TEXT
        text, announced = _read_placeholders(
            tokenizer.decode(ids), image_text if contexts or num_images else None, num_images, videos
        )
        ids = tokenizer.encode(text, add_special_tokens=False)
    return _open_slots(ids, announced, [len(labels) for labels in videos], tokens)


def _read_placeholders(
    text: str, image_text: str | None, num_images: int, videos: Sequence[Sequence[str]]
) -> tuple[str, list[Literal["image", "video"]]]:
    """The text with `<IMG_CONTEXT>` for every image and frame, and what its placeholders stood for."""
    sought = [*([image_text] if image_text else []), *([VIDEO_TEXT] if videos else [])]
    pieces = re.split("|".join(f"({re.escape(placeholder)})" for placeholder in sought), text)
    pieces = [piece for piece in pieces if piece is not None]
    found = {placeholder: pieces.count(placeholder) for placeholder in sought}
    images, clips = found.get(image_text or "", 0), found.get(VIDEO_TEXT, 0)
    if images != num_images:
        raise ValueError(
            f"the prompt has {images} image placeholders for {num_images} images: "
            f"write {IMAGE_CONTEXT} or {IMAGE_TEXT} once for each, and neither of them elsewhere in the text"
        )
    if clips != len(videos):
        raise ValueError(
            f"the prompt has {clips} video placeholders for {len(videos)} videos: "
            f"write {VIDEO_TEXT} once for each, and nowhere else in the text"
        )
    labels_of_videos = iter(videos)
    announced: list[Literal["image", "video"]] = []
    for index, piece in enumerate(pieces):
        if piece == image_text:
            announced.append("image")
            pieces[index] = IMAGE_CONTEXT
        elif piece == VIDEO_TEXT and videos:
            announced.append("video")
            pieces[index] = "\n".join(label + IMAGE_CONTEXT for label in next(labels_of_videos))
    return "".join(pieces), announced


def _open_slots(
    ids: Sequence[int],
    announced: Sequence[Literal["image", "video"]],
    frames_of_videos: Sequence[int],
    tokens: ImageTokens,
) -> PromptWithSlots:
    """Puts a framed place where each context token stands."""
    frames = iter(frames_of_videos)
    order: list[tuple[Literal["image", "video"], int]] = []
    for medium, modality in enumerate(announced):
        order += [(modality, medium)] * (next(frames) if modality == "video" else 1)
    counts = {"image": 0, "video": 0}
    opened, slots = list[int](), list[MediaSlot]()
    remaining = iter(order)
    for token in ids:
        if token != tokens.context:
            opened.append(token)
            continue
        modality, medium = next(remaining)
        slots.append(MediaSlot(len(opened) + 1, modality, counts[modality], medium))
        opened += [tokens.start, IMAGE_MARKER if modality == "image" else FRAME_MARKER, tokens.end]
        counts[modality] += 1
    return PromptWithSlots(tuple(opened), tuple(slots))
