"""Read from the texts of a message where its images and videos stand.

InternVL's prompts write `<image>` where an image stands and `<video>` where a video stands, and LMDeploy's
write `<IMAGE_TOKEN>`. Anybody may also write these words as words. So they say where media stand only if one
message has exactly as many of them as media of that kind; otherwise they are ordinary text. Sources:
OpenGVLab/InternVL `modeling_internvl_chat.py`, `chat`; LMDeploy's `lmdeploy/vl/model/internvl.py`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .image_tokens import IMAGE_TEXT, VIDEO_TEXT

LMDEPLOY_IMAGE_TEXT = "<IMAGE_TOKEN>"

INLINE = "internvl3_inline"
"""The key of a media part that says whether the part stands within a text, without a line break after it."""

_WORDS = {
    "image": re.compile(f"{re.escape(IMAGE_TEXT)}|{re.escape(LMDEPLOY_IMAGE_TEXT)}"),
    "video": re.compile(re.escape(VIDEO_TEXT)),
}
_MODALITIES = {
    "image_url": "image",
    "input_image": "image",
    "image_pil": "image",
    "image_embeds": "image",
    "video_url": "video",
    "video_embeds": "video",
}


def media_modality(part: Mapping[str, Any]) -> str | None:
    """Return "image" or "video" for a media part of an OpenAI message, and None for any other part."""
    return _MODALITIES.get(part.get("type", ""))


def place_media(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the parts of one message with every image and video where it stands, and marked by `INLINE`.

    If the texts say where the media of a kind stand, each text is cut at those words, and the media stand
    between the pieces, in their order. There is a text, which may be empty, on both sides of each. Other
    media keep their places. Media that all carry `INLINE` already are not placed again.
    """
    if all(INLINE in part for part in parts if media_modality(part)):
        return [
            {**part, INLINE: bool(part[INLINE]) and _has_texts_beside(parts, index)}
            if media_modality(part)
            else part
            for index, part in enumerate(parts)
        ]
    named = [modality for modality in _WORDS if _is_named(modality, parts)]
    media = {
        modality: iter([part for part in parts if media_modality(part) == modality]) for modality in named
    }
    words = re.compile("|".join(f"(?P<{modality}>{_WORDS[modality].pattern})" for modality in named))
    placed: list[Mapping[str, Any]] = []
    for part in parts:
        modality = media_modality(part)
        if modality is not None:
            placed += [] if modality in named else [{**part, INLINE: False}]
        elif part.get("type") != "text" or not named:
            placed.append(part)
        else:
            text, end = part["text"], 0
            for word in words.finditer(text):
                placed.append({**part, "text": text[end : word.start()]})
                placed.append({**next(media[str(word.lastgroup)]), INLINE: True})
                end = word.end()
            placed.append({**part, "text": text[end:]})
    return placed


def _is_named(modality: str, parts: Sequence[Mapping[str, Any]]) -> bool:
    texts = [part["text"] for part in parts if part.get("type") == "text"]
    num_media = sum(media_modality(part) == modality for part in parts)
    return 0 < num_media == sum(len(_WORDS[modality].findall(text)) for text in texts)


def _has_texts_beside(parts: Sequence[Mapping[str, Any]], index: int) -> bool:
    beside = [*parts[max(0, index - 1) : index], *parts[index + 1 : index + 2]]
    return [part.get("type") for part in beside] == ["text", "text"]
