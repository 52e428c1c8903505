"""Where a conversation's media stand in its text, as the published training code writes them.

Source: OpenGVLab/InternVL `internvl_chat/internvl/train/internvl_chat_finetune.py`. A record that doesn't say
where its one image stands gets `<image>` and a newline in front of its first user turn; several images get
`Image-1: <image>` lines, as the published inference examples have them (the training code refuses these).
A video's frames are lines `Frame-1: <image>`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from model.image_tokens import IMAGE_TEXT, VIDEO_TEXT
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn


def announce_images(turns: Sequence[Turn], num_images: int) -> tuple[Turn, ...]:
    """The turns with `<image>` in the users' texts exactly once for each image; without images, as they are.

    Raises:
        RecordError: the record places another number of images, or has no user turn for them.
    """
    if num_images == 0:
        return tuple(turns)
    found = sum(turn.text.count(IMAGE_TEXT) for turn in turns if turn.role == "user")
    if found == num_images:
        return tuple(turns)
    if found:
        raise RecordError(f"{found} {IMAGE_TEXT} for {num_images} images: write one for each, or none at all")
    labels = [f"Image-{number}: " for number in range(1, num_images + 1)] if num_images > 1 else [""]
    lines = "".join(f"{label}{IMAGE_TEXT}\n" for label in labels)
    return _in_first_user_turn(turns, lambda text: lines + text)


def announce_frames(turns: Sequence[Turn], num_frames: int, *, label: str = "Frame-") -> tuple[Turn, ...]:
    """The turns with a video's frames, a line each, in place of `<video>` or before the first user turn.

    `label` goes before a frame's number. The published code writes `Frame-1: ` for fine-tuning and `Frame1: `
    for preference optimisation; with the latter it also leaves out the newline after the last frame, which
    here is always there.

    Raises:
        RecordError: more than one `<video>`, or an `<image>` besides; no user turn.
    """
    texts = [turn.text for turn in turns if turn.role == "user"]
    if sum(text.count(VIDEO_TEXT) for text in texts) > 1 or any(IMAGE_TEXT in text for text in texts):
        raise RecordError(f"a record with a video has one {VIDEO_TEXT} at most, and no {IMAGE_TEXT}")
    lines = "".join(f"{label}{number}: {IMAGE_TEXT}\n" for number in range(1, num_frames + 1))
    if not any(VIDEO_TEXT in text for text in texts):
        return _in_first_user_turn(turns, lambda text: lines + text)

    def shown(text: str) -> str:
        before, found, after = text.partition(VIDEO_TEXT)
        return before + lines + after.removeprefix("\n") if found else text

    return tuple(replace(turn, text=shown(turn.text)) if turn.role == "user" else turn for turn in turns)


def _in_first_user_turn(turns: Sequence[Turn], change: Callable[[str], str]) -> tuple[Turn, ...]:
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        raise RecordError("no 'human' turn to show the image or video in: add one before the answer")
    changed = replace(turns[first], text=change(turns[first].text))
    return (*turns[:first], changed, *turns[first + 1 :])
