"""Find the slots of images and videos in a prompt, and replace them with markers for vLLM.

The prompt of a chat request comes from our renderer, which puts IMAGE_MARKER and VIDEO_MARKER where media
stand. Any other prompt holds one placeholder for each image: `<IMG_CONTEXT>`, which transformers' templates
write, or the text `<image>` of prompts in OpenGVLab's style. There the placeholder of a video is `<video>`.
An image becomes `<img>`, its context tokens and `</img>`. A video becomes the same for each frame, in one
line for each frame that begins with "Frame1: ". Source: OpenGVLab/InternVL `modeling_internvl_chat.py`,
`chat`; transformers `processing_internvl.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.image_tokens import IMAGE_CONTEXT, IMAGE_TEXT, VIDEO_TEXT, ImageTokens, Tokenizer, special_ids

from .literal_tokenizer import LiteralTokenizer

# No tokenizer has negative ids, so text can't contain them. vLLM replaces the first three in a prompt. A
# VIDEO_MARKER becomes the lines of the video's frames before that.
IMAGE_MARKER, FRAME_MARKER, DELTA_MARKER, VIDEO_MARKER = -1, -2, -3, -4


@dataclass(frozen=True)
class MediaSlot:
    """The slot of an image, or of one frame of a video, in a prompt with markers.

    `index` is the index of its marker in the ids. `item` is the number of the image among all images, or of
    the frame among the frames of all videos. `medium` is the number of the image or video among all media.
    Numbers count from 0 in the order of the prompt.
    """

    index: int
    modality: Literal["image", "video"]
    item: int
    medium: int


@dataclass(frozen=True)
class PromptWithSlots:
    """The ids of a prompt with `<img>`, a marker and `</img>` for every image and frame, and their slots."""

    ids: tuple[int, ...]
    slots: tuple[MediaSlot, ...]

    def medium_of_tokens(self, num_tokens: Sequence[int]) -> NDArray[np.int64]:
        """Return the medium (T,) that each token of the final prompt belongs to, or -1 for text.

        Args:
            num_tokens: how many context tokens replace the marker of each slot.
        """
        repeats = np.ones(len(self.ids), dtype=np.int64)
        medium = np.full(len(self.ids), -1)
        for slot, count in zip(self.slots, num_tokens, strict=True):
            repeats[slot.index], medium[slot.index] = count, slot.medium
        return np.repeat(medium, repeats)

    def with_delta_markers(self, deltas: Sequence[float]) -> tuple[list[int], list[float]]:
        """Return the ids with markers for deltas, and the delta of each such marker.

        Where an image or frame has another delta than the one before it, its `<img>` becomes a marker.

        Args:
            deltas: one for each image and video, in the order of the prompt.
        """
        ids, marked = list(self.ids), list[float]()
        for slot in self.slots:
            if not marked or marked[-1] != deltas[slot.medium]:
                ids[slot.index - 1] = DELTA_MARKER
                marked.append(deltas[slot.medium])
        return ids, marked


def find_media_slots(
    prompt: Sequence[int],
    num_images: int,
    videos: Sequence[Sequence[str]],
    tokens: ImageTokens,
    tokenizer: Tokenizer,
    literal: LiteralTokenizer,
) -> PromptWithSlots:
    """Return the prompt with a slot for each image and each frame of a video.

    Args:
        prompt: token ids.
        num_images: how many images there are.
        videos: the labels of the frames of each video.
        tokens: the image tokens of the tokenizer.
        tokenizer: it finds placeholders that are text.
        literal: a copy of the tokenizer, which encodes the labels.

    Raises:
        ValueError: the placeholders don't match the images and videos.
    """
    contexts = prompt.count(tokens.context)
    modalities: list[Literal["image", "video"]] = ["image"] * num_images
    ids = list(prompt)
    if min(ids, default=0) < 0:
        ids, modalities = _read_markers(ids, num_images, videos, tokens, tokenizer, literal)
    elif videos or contexts != num_images:
        # `<image>` and `<video>` are ordinary text. The tokenizer may split them or merge them with their
        # neighbours, so they are searched in the text and not in the ids.
        image_text = IMAGE_CONTEXT if contexts else IMAGE_TEXT
        text, modalities = _read_placeholders(
            tokenizer.decode(ids), image_text if contexts or num_images else None, num_images, videos
        )
        ids = tokenizer.encode(text, add_special_tokens=False)
    return _open_slots(ids, modalities, [len(labels) for labels in videos], tokens)


def _read_markers(
    prompt: Sequence[int],
    num_images: int,
    videos: Sequence[Sequence[str]],
    tokens: ImageTokens,
    tokenizer: Tokenizer,
    literal: LiteralTokenizer,
) -> tuple[list[int], list[Literal["image", "video"]]]:
    """Return the renderer's prompt with a context token for every image and frame, and each modality."""
    counts = prompt.count(IMAGE_MARKER), prompt.count(VIDEO_MARKER)
    if counts != (num_images, len(videos)):
        raise ValueError(
            f"the prompt holds {counts[0]} of {num_images} images and {counts[1]} of {len(videos)} videos: "
            "the chat template or truncate_prompt_tokens has left out a message, so send fewer messages"
        )
    labels_of_videos = iter(videos)
    special = set(special_ids(tokenizer).values()) if videos else set()
    ids, modalities = list[int](), list[Literal["image", "video"]]()
    for token in prompt:
        if token >= 0:
            ids.append(token)
        elif token == IMAGE_MARKER:
            ids.append(tokens.context)
            modalities.append("image")
        else:
            modalities.append("video")
            first, *others = next(labels_of_videos)
            begin = len(ids)  # of the text that ends here; its last token may be merged with the label
            while begin and ids[begin - 1] not in special:
                begin -= 1
            ids[begin:] = literal.encode(tokenizer.decode(ids[begin:]) + first)
            ids.append(tokens.context)
            for label in others:
                ids += [*literal.encode(f"\n{label}"), tokens.context]
    return ids, modalities


def _read_placeholders(
    text: str, image_text: str | None, num_images: int, videos: Sequence[Sequence[str]]
) -> tuple[str, list[Literal["image", "video"]]]:
    """Return the text with `<IMG_CONTEXT>` for every image and frame, and each placeholder's modality."""
    placeholders = [*([image_text] if image_text else []), *([VIDEO_TEXT] if videos else [])]
    pieces = re.split("|".join(f"({re.escape(placeholder)})" for placeholder in placeholders), text)
    pieces = [piece for piece in pieces if piece is not None]
    counts = {placeholder: pieces.count(placeholder) for placeholder in placeholders}
    images, clips = counts.get(image_text or "", 0), counts.get(VIDEO_TEXT, 0)
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
    modalities: list[Literal["image", "video"]] = []
    for index, piece in enumerate(pieces):
        if piece == image_text:
            modalities.append("image")
            pieces[index] = IMAGE_CONTEXT
        elif piece == VIDEO_TEXT and videos:
            modalities.append("video")
            pieces[index] = "\n".join(label + IMAGE_CONTEXT for label in next(labels_of_videos))
    return "".join(pieces), modalities


def _open_slots(
    ids: Sequence[int],
    modalities: Sequence[Literal["image", "video"]],
    frames_of_videos: Sequence[int],
    tokens: ImageTokens,
) -> PromptWithSlots:
    """Replace each context token with `<img>`, a marker and `</img>`."""
    frames = iter(frames_of_videos)
    order: list[tuple[Literal["image", "video"], int]] = []
    for medium, modality in enumerate(modalities):
        order += [(modality, medium)] * (next(frames) if modality == "video" else 1)
    counts = {"image": 0, "video": 0}
    ids_with_slots, slots = list[int](), list[MediaSlot]()
    remaining = iter(order)
    for token in ids:
        if token != tokens.context:
            ids_with_slots.append(token)
            continue
        modality, medium = next(remaining)
        slots.append(MediaSlot(len(ids_with_slots) + 1, modality, counts[modality], medium))
        ids_with_slots += [tokens.start, IMAGE_MARKER if modality == "image" else FRAME_MARKER, tokens.end]
        counts[modality] += 1
    return PromptWithSlots(tuple(ids_with_slots), tuple(slots))
