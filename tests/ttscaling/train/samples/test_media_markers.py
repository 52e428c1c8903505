"""Slots for images and frames are written where the published code writes them."""

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import Turn
from ttscaling.train.samples.media_markers import announce_frames, announce_images

SYSTEM = Turn("system", "Look at the <image>.")
ANSWER = Turn("assistant", "An <image>.")


def user(text: str) -> Turn:
    return Turn("user", text)


@pytest.mark.parametrize(
    ("turns", "images", "text"),
    [
        ((user("What?"), ANSWER), 1, "<image>\nWhat?"),
        ((SYSTEM, user("What?"), ANSWER), 1, "<image>\nWhat?"),
        ((user("What?"), ANSWER), 3, "Image-1: <image>\nImage-2: <image>\nImage-3: <image>\nWhat?"),
        ((user("See <image> here"), ANSWER), 1, "See <image> here"),
        ((user("<image>"), ANSWER, user("and <image>?"), ANSWER), 2, "<image>"),
        ((user("What?"), ANSWER, user("and <image>?"), ANSWER), 1, "What?"),
        ((user("<image> is a tag of RSS"), ANSWER), 0, "<image> is a tag of RSS"),
    ],
)
def test_images(turns: tuple[Turn, ...], images: int, text: str) -> None:
    changed = announce_images(turns, images)
    assert next(turn.text for turn in changed if turn.role == "user") == text
    assert [turn.role for turn in changed] == [turn.role for turn in turns]
    assert [turn for turn in changed if turn.role != "user"] == [
        turn for turn in turns if turn.role != "user"
    ]


@pytest.mark.parametrize("images", [1, 3])
def test_another_number_of_images_than_slots(images: int) -> None:
    with pytest.raises(RecordError, match=f"2 <image> for {images} images"):
        announce_images((user("<image> or <image>?"), ANSWER), images)


def test_an_image_needs_a_user_turn() -> None:
    with pytest.raises(RecordError, match="no 'human' turn"):
        announce_images((ANSWER,), 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<video>\nWhat?", "Frame-1: <image>\nFrame-2: <image>\nWhat?"),
        ("What?", "Frame-1: <image>\nFrame-2: <image>\nWhat?"),
        ("In <video>\nwhat?", "In Frame-1: <image>\nFrame-2: <image>\nwhat?"),
        ("In <video> what?", "In Frame-1: <image>\nFrame-2: <image>\n what?"),
    ],
)
def test_frames(text: str, expected: str) -> None:
    assert announce_frames((SYSTEM, user(text), ANSWER), 2) == (SYSTEM, user(expected), ANSWER)


def test_frames_of_preference_pairs_are_labelled_as_asked() -> None:
    assert announce_frames((user("<video>\nWhat?"),), 1, label="Frame") == (user("Frame1: <image>\nWhat?"),)


@pytest.mark.parametrize("text", ["<video> or <video>?", "<video> and <image>?"])
def test_a_video_stands_alone(text: str) -> None:
    with pytest.raises(RecordError, match="one <video> at most"):
        announce_frames((user(text), ANSWER), 2)
