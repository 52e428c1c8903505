"""Placeholders of every style become framed markers, and are refused if they don't match the media."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transformers import AutoTokenizer

import model
from model.image_tokens import frame_labels, image_tokens
from model.plugin.inputs.literal_tokenizer import LiteralTokenizer
from model.plugin.inputs.placeholders import (
    DELTA_MARKER,
    FRAME_MARKER,
    IMAGE_MARKER,
    VIDEO_MARKER,
    MediaSlot,
    PromptWithSlots,
    find_media_slots,
)
from tests.checkpoints import byte_tokenizer

TOKENIZER = byte_tokenizer()
TOKENS = image_tokens(TOKENIZER)
LITERAL = LiteralTokenizer(TOKENIZER)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def test_ids_of_image_tokens_are_those_of_the_tokenizer():
    assert TOKENIZER.convert_ids_to_tokens([TOKENS.start, TOKENS.end, TOKENS.context]) == [
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
    ]


def test_a_tokenizer_without_the_tokens_is_refused():
    class Bare:
        unk_token_id = 0
        added_tokens_decoder: ClassVar[Mapping[int, Any]] = {}
        all_special_tokens: ClassVar[list[str]] = []

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]:
            return [None if token == "<img>" else 0 for token in tokens]

        def encode(
            self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False
        ) -> list[int]:
            raise NotImplementedError

        def decode(self, ids: list[int]) -> str:
            raise NotImplementedError

    with pytest.raises(ValueError, match="no <img>, </img>, <IMG_CONTEXT>"):
        image_tokens(Bare())


def place_slots(text: str, images: int = 0, videos: list[list[str]] | None = None) -> PromptWithSlots:
    return find_media_slots(ids(text), images, videos or [], TOKENS, TOKENIZER, LITERAL)


def with_marker_names(prompt: PromptWithSlots) -> str:
    """Return a prompt with slots as text, with its markers as IMAGE and FRAME."""
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
def test_an_image_becomes_a_framed_marker(images: int, placeholder: str):
    prompt = place_slots(f"Hé {placeholder}\n" * images + "?", images)
    assert with_marker_names(prompt) == "Hé <img>IMAGE</img>\n" * images + "?"
    assert [(slot.item, slot.medium) for slot in prompt.slots] == [(n, n) for n in range(images)]
    assert all(prompt.ids[slot.index] == IMAGE_MARKER for slot in prompt.slots)


def test_placeholders_without_media_are_text():
    assert (
        with_marker_names(place_slots("<IMG_CONTEXT>: <image> or <video>?", 1))
        == "<img>IMAGE</img>: <image> or <video>?"
    )
    assert (
        with_marker_names(place_slots("<video>: <image>?", 0, [["F: "]])) == "F: <img>FRAME</img>: <image>?"
    )


def test_a_video_is_a_line_for_every_frame():
    prompt = place_slots("user\n<video>\nWhat?", 0, [frame_labels(2)])
    assert with_marker_names(prompt) == "user\nFrame1: <img>FRAME</img>\nFrame2: <img>FRAME</img>\nWhat?"
    assert [(slot.item, slot.medium) for slot in prompt.slots] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("image", ["<IMG_CONTEXT>", "<image>"])
def test_images_and_videos_mix_in_the_order_of_the_prompt(image: str):
    prompt = place_slots(f"<video>{image}<video>{image}", 2, [["a"], ["b", "c"]])
    framed = "<img>{}</img>"
    image, frame = framed.format("IMAGE"), framed.format("FRAME")
    assert with_marker_names(prompt) == f"a{frame}{image}b{frame}\nc{frame}{image}"
    assert prompt.slots == (
        MediaSlot(2, "video", item=0, medium=0),
        MediaSlot(5, "image", item=0, medium=1),
        MediaSlot(9, "video", item=1, medium=2),
        MediaSlot(14, "video", item=2, medium=2),
        MediaSlot(17, "image", item=1, medium=3),
    )


def place_in_markers(*pieces: str | int, images: int = 0, videos: list[list[str]] | None = None) -> str:
    """Return a prompt of texts and the renderer's markers with its slots, as text."""
    prompt = [token for piece in pieces for token in ([piece] if isinstance(piece, int) else ids(piece))]
    return with_marker_names(find_media_slots(prompt, images, videos or [], TOKENS, TOKENIZER, LITERAL))


def test_markers_of_the_renderer_say_where_media_stand_and_placeholders_are_text():
    said = "<image> <video>"
    shown = place_in_markers(said, IMAGE_MARKER, "\n", VIDEO_MARKER, said, images=1, videos=[["a: ", "b: "]])
    framed = "<img>{}</img>"
    image, frame = framed.format("IMAGE"), framed.format("FRAME")
    assert shown == f"{said}{image}\na: {frame}\nb: {frame}{said}"


def test_a_label_is_encoded_together_with_the_text_before_it():
    """In nano's vocabulary a space and the word after it are one token."""
    nano = AutoTokenizer.from_pretrained(Path(str(model.__file__)).parent / "nano" / "policy")
    tokens = image_tokens(nano)
    before, label = "</img>Look at <|im_end|> row ", "sum 1: "
    start = nano.encode("</img>", add_special_tokens=False)
    text = nano.encode(before.removeprefix("</img>"), add_special_tokens=False, split_special_tokens=True)
    found = find_media_slots(
        [*start, *text, VIDEO_MARKER], 0, [[label]], tokens, nano, LiteralTokenizer(nano)
    )
    joint = before.removeprefix("</img>") + label
    expected = [*start, *nano.encode(joint, add_special_tokens=False, split_special_tokens=True)]
    assert list(found.ids[:-3]) == expected
    apart = text + nano.encode(label, add_special_tokens=False)
    assert expected != [*start, *apart], "the tokens at the border are merged"


@pytest.mark.parametrize(("images", "videos"), [(0, [["a"]]), (2, [["a"]]), (1, []), (1, [["a"], ["b"]])])
def test_markers_must_match_the_media(images: int, videos: list[list[str]]):
    with pytest.raises(ValueError, match=f"1 of {images} images and 1 of {len(videos)} videos"):
        place_in_markers(IMAGE_MARKER, VIDEO_MARKER, images=images, videos=videos)


def test_each_token_of_a_prompt_has_its_medium():
    prompt = place_slots("<image><video>", 1, [["a", "b"]])
    medium_T = prompt.medium_of_tokens([3, 1, 2])
    assert medium_T.tolist() == [-1, 0, 0, 0, -1, -1, -1, 1, -1, -1, -1, -1, 1, 1, -1]


def test_a_delta_has_a_marker_where_it_begins_to_hold():
    prompt = place_slots("<image><video><image><image>", 3, [["a", "b"]])
    marked_ids, deltas = prompt.with_delta_markers([1, 0.5, 0.5, 1])
    assert deltas == [1, 0.5, 1]
    starts = [slot.index - 1 for slot in prompt.slots]
    assert [marked_ids[start] == DELTA_MARKER for start in starts] == [True, True, False, False, True]
    assert [marked_ids[start] == TOKENS.start for start in starts] == [False, False, True, True, False]


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
    ("text", "images", "placeholders"),
    [
        ("no placeholder", 1, 0),
        ("<image>", 2, 1),
        ("<image><image>", 1, 2),
        ("<IMG_CONTEXT><IMG_CONTEXT>", 1, 2),
        ("<IMG_CONTEXT>", 0, 1),
    ],
)
def test_placeholders_must_match_the_images(text: str, images: int, placeholders: int):
    with pytest.raises(ValueError, match=f"has {placeholders} image placeholders for {images} images"):
        place_slots(text, images)
    with pytest.raises(ValueError, match=f"has {placeholders} image placeholders for {images} images"):
        place_slots(text + "<video>", images, [["a"]])


@pytest.mark.parametrize(("text", "placeholders"), [("", 0), ("<video><video>", 2), ("<image>", 0)])
def test_placeholders_must_match_the_videos(text: str, placeholders: int):
    with pytest.raises(ValueError, match=f"has {placeholders} video placeholders for 1 videos"):
        place_slots(text, 0, [["a"]])
