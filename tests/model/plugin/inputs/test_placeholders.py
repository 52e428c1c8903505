"""Placeholders in every style become framed places, and what doesn't add up is refused."""

import pytest

from model.image_tokens import frame_labels, image_tokens
from model.plugin.inputs.placeholders import (
    DELTA_MARKER,
    FRAME_MARKER,
    IMAGE_MARKER,
    MediaSlot,
    PromptWithSlots,
    find_media_slots,
)
from tests.checkpoints import byte_tokenizer

TOKENIZER = byte_tokenizer()
TOKENS = image_tokens(TOKENIZER)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def test_ids_are_the_tokenizers():
    assert TOKENIZER.convert_ids_to_tokens([TOKENS.start, TOKENS.end, TOKENS.context]) == [
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
    ]


def test_a_tokenizer_without_the_tokens_is_refused():
    class Bare:
        unk_token_id = 0

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]:
            return [None if token == "<img>" else 0 for token in tokens]

        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            raise NotImplementedError

        def decode(self, ids: list[int]) -> str:
            raise NotImplementedError

    with pytest.raises(ValueError, match="no <img>, </img>, <IMG_CONTEXT>"):
        image_tokens(Bare())


def slot(text: str, images: int = 0, videos: list[list[str]] | None = None) -> PromptWithSlots:
    return find_media_slots(ids(text), images, videos or [], TOKENS, TOKENIZER)


def shown(prompt: PromptWithSlots) -> str:
    """The placed prompt as text, the places as IMAGE and FRAME."""
    names = {IMAGE_MARKER: "IMAGE", FRAME_MARKER: "FRAME"}
    text, run = "", list[int]()
    for token in prompt.ids:
        if token >= 0:
            run.append(token)
        else:
            text, run = text + TOKENIZER.decode(run) + names[token], []
    return text + TOKENIZER.decode(run)


@pytest.mark.parametrize("images", [0, 1, 3])
@pytest.mark.parametrize("placeholder", ["<IMG_CONTEXT>", "<image>"])
def test_an_image_is_a_framed_place(images: int, placeholder: str):
    prompt = slot(f"Hé {placeholder}\n" * images + "?", images)
    assert shown(prompt) == "Hé <img>IMAGE</img>\n" * images + "?"
    assert [(slot.item, slot.medium) for slot in prompt.slots] == [(n, n) for n in range(images)]
    assert all(prompt.ids[slot.index] == IMAGE_MARKER for slot in prompt.slots)


def test_placeholders_that_announce_nothing_are_text():
    assert shown(slot("<IMG_CONTEXT>: <image> or <video>?", 1)) == "<img>IMAGE</img>: <image> or <video>?"
    assert shown(slot("<video>: <image>?", 0, [["F: "]])) == "F: <img>FRAME</img>: <image>?"


def test_a_video_is_a_line_for_every_frame():
    prompt = slot("user\n<video>\nWhat?", 0, [frame_labels(2)])
    assert shown(prompt) == "user\nFrame1: <img>FRAME</img>\nFrame2: <img>FRAME</img>\nWhat?"
    assert [(slot.item, slot.medium) for slot in prompt.slots] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("image", ["<IMG_CONTEXT>", "<image>"])
def test_images_and_videos_mix_in_the_order_of_the_prompt(image: str):
    prompt = slot(f"<video>{image}<video>{image}", 2, [["a"], ["b", "c"]])
    framed = "<img>{}</img>"
    image, frame = framed.format("IMAGE"), framed.format("FRAME")
    assert shown(prompt) == f"a{frame}{image}b{frame}\nc{frame}{image}"
    assert prompt.slots == (
        MediaSlot(2, "video", item=0, medium=0),
        MediaSlot(5, "image", item=0, medium=1),
        MediaSlot(9, "video", item=1, medium=2),
        MediaSlot(14, "video", item=2, medium=2),
        MediaSlot(17, "image", item=1, medium=3),
    )


def test_a_placed_prompt_knows_what_its_tokens_belong_to():
    prompt = slot("<image><video>", 1, [["a", "b"]])
    medium_T = prompt.medium_of_tokens([3, 1, 2])
    assert medium_T.tolist() == [-1, 0, 0, 0, -1, -1, -1, 1, -1, -1, -1, -1, 1, 1, -1]


def test_a_delta_is_announced_where_it_begins_to_hold():
    prompt = slot("<image><video><image><image>", 3, [["a", "b"]])
    placed, deltas = prompt.with_delta_markers([1, 0.5, 0.5, 1])
    assert deltas == [1, 0.5, 1]
    starts = [slot.index - 1 for slot in prompt.slots]
    assert [placed[start] == DELTA_MARKER for start in starts] == [True, True, False, False, True]
    assert [placed[start] == TOKENS.start for start in starts] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("times", "labels"),
    [
        (None, ["Frame1: ", "Frame2: "]),
        ((0.0, 12.9), ["Frame1 (00:00): ", "Frame2 (00:12): "]),
        ((61, 3661), ["Frame1 (01:01): ", "Frame2 (01:01:01): "]),
    ],
)
def test_frames_are_labelled(times: tuple[float, ...] | None, labels: list[str]):
    assert frame_labels(2, times) == labels


@pytest.mark.parametrize(
    ("text", "images", "found"),
    [
        ("no placeholder", 1, 0),
        ("<image>", 2, 1),
        ("<image><image>", 1, 2),
        ("<IMG_CONTEXT><IMG_CONTEXT>", 1, 2),
        ("<IMG_CONTEXT>", 0, 1),
    ],
)
def test_placeholders_must_match_the_images(text: str, images: int, found: int):
    with pytest.raises(ValueError, match=f"has {found} image placeholders for {images} images"):
        slot(text, images)
    with pytest.raises(ValueError, match=f"has {found} image placeholders for {images} images"):
        slot(text + "<video>", images, [["a"]])


@pytest.mark.parametrize(("text", "found"), [("", 0), ("<video><video>", 2), ("<image>", 0)])
def test_placeholders_must_match_the_videos(text: str, found: int):
    with pytest.raises(ValueError, match=f"has {found} video placeholders for 1 videos"):
        slot(text, 0, [["a"]])
