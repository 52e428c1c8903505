"""Write slots for a conversation's media into its text, as the published training code does.

Source: OpenGVLab/InternVL `internvl_chat/internvl/train/internvl_chat_finetune.py`. A record that doesn't say
where its one image stands gets `<image>` and a newline in front of its first user turn. Several images get
lines such as `Image-1: <image>`, as in the published inference examples; the training code refuses such
records. The frames of a video get lines such as `Frame-1: <image>`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from model.image_tokens import IMAGE_TEXT, VIDEO_TEXT
from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn


def announce_images(turns: Sequence[Turn], num_images: int) -> tuple[Turn, ...]:
    """Return the turns with one `<image>` in the users' texts for each image.

    Without images the turns are returned unchanged.

    Raises:
        RecordError: the texts have another number of `<image>`, or there is no user turn for them.
    """
    if num_images == 0:
        return tuple(turns)
    num_slots = sum(turn.text.count(IMAGE_TEXT) for turn in turns if turn.role == "user")
    if num_slots == num_images:
        return tuple(turns)
    if num_slots:
        raise RecordError(
            f"the text has {num_slots} {IMAGE_TEXT} for {num_images} images: write one for each, or none"
        )
    labels = [f"Image-{number}: " for number in range(1, num_images + 1)] if num_images > 1 else [""]
    lines = "".join(f"{label}{IMAGE_TEXT}\n" for label in labels)
    return _in_first_user_turn(turns, lambda text: lines + text)


def announce_frames(turns: Sequence[Turn], num_frames: int, *, label: str = "Frame-") -> tuple[Turn, ...]:
    """Return the turns with a line for each frame, in place of `<video>` or before the first user turn.

    `label` stands before a frame's number. The published code writes `Frame-1: ` for fine-tuning and
    `Frame1: ` for preference optimisation. For the latter it also leaves out the newline after the last
    frame, which is always written here.

    Raises:
        RecordError: there is more than one `<video>`, an `<image>` besides it, or no user turn.
    """
    texts = [turn.text for turn in turns if turn.role == "user"]
    if sum(text.count(VIDEO_TEXT) for text in texts) > 1 or any(IMAGE_TEXT in text for text in texts):
        raise RecordError(f"a record with a video may have one {VIDEO_TEXT} at most, and no {IMAGE_TEXT}")
    lines = "".join(f"{label}{number}: {IMAGE_TEXT}\n" for number in range(1, num_frames + 1))
    if not any(VIDEO_TEXT in text for text in texts):
        return _in_first_user_turn(turns, lambda text: lines + text)

    def with_frames(text: str) -> str:
        before, slot, after = text.partition(VIDEO_TEXT)
        return before + lines + after.removeprefix("\n") if slot else text

    return tuple(
        replace(turn, text=with_frames(turn.text)) if turn.role == "user" else turn for turn in turns
    )


def _in_first_user_turn(turns: Sequence[Turn], change: Callable[[str], str]) -> tuple[Turn, ...]:
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        raise RecordError("there is no 'human' turn for the image or video: add one before the answer")
    changed_turn = replace(turns[first], text=change(turns[first].text))
    return (*turns[:first], changed_turn, *turns[first + 1 :])
