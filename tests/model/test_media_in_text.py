"""The words `<image>`, `<IMAGE_TOKEN>` and `<video>` place media only if they match them one by one."""

from typing import Any

import pytest

from model.media_in_text import INLINE, media_modality, place_media


def parts(*contents: str) -> list[dict[str, Any]]:
    """Return parts: "IMAGE1" or "VIDEO1" becomes a medium of this name, anything else a text."""
    return [
        {"type": f"{content[:5].lower()}_url", "uuid": content}
        if content.startswith(("IMAGE", "VIDEO"))
        else {"type": "text", "text": content}
        for content in contents
    ]


def placed(*contents: str) -> list[str]:
    """Return the texts and media of the placed parts; a star follows the name of an inline medium."""
    return [
        part["text"] if part["type"] == "text" else part["uuid"] + "*" * part[INLINE]
        for part in place_media(parts(*contents))
    ]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["IMAGE1", "<image>\nWhat?"], ["", "IMAGE1*", "\nWhat?"]),
        (["<IMAGE_TOKEN>\nWhat?", "IMAGE1"], ["", "IMAGE1*", "\nWhat?"]),
        (
            ["IMAGE1", "IMAGE2", "Image-1: <image>\nImage-2: <IMAGE_TOKEN>\nWhat?"],
            ["Image-1: ", "IMAGE1*", "\nImage-2: ", "IMAGE2*", "\nWhat?"],
        ),
        (["A <image>", "IMAGE1", "<image> B", "IMAGE2"], ["A ", "IMAGE1*", "", "", "IMAGE2*", " B"]),
        (["Why doesn't my <video> tag play?", "VIDEO1"], ["Why doesn't my ", "VIDEO1*", " tag play?"]),
        (
            ["VIDEO1", "IMAGE1", "<image> or <video>?"],
            ["", "IMAGE1*", " or ", "VIDEO1*", "?"],
        ),
        (["VIDEO1", "IMAGE1", "Is <image> on it?"], ["VIDEO1", "Is ", "IMAGE1*", " on it?"]),
    ],
)
def test_words_that_match_the_media_place_them(contents: list[str], expected: list[str]):
    assert placed(*contents) == expected


@pytest.mark.parametrize(
    "contents",
    [
        ["IMAGE1", "two <image> <image>"],
        ["IMAGE1", "IMAGE2", "one <image>"],
        ["IMAGE1", "<image> and <IMAGE_TOKEN>"],
        ["no media: <image>, <video>"],
        ["VIDEO1", "<image>"],
        ["IMAGE1", "<Image> <IMG_CONTEXT> < image >"],
    ],
)
def test_other_words_are_text(contents: list[str]):
    assert placed(*contents) == contents


def test_media_that_are_placed_already_are_not_placed_again():
    once = place_media(parts("IMAGE1", "what is an <video>?"))
    again = place_media([*once, {"type": "text", "text": "The tag <image> is not closed."}])
    assert again == [*once, {"type": "text", "text": "The tag <image> is not closed."}]


@pytest.mark.parametrize("contents", [["IMAGE1", "a"], ["a", "IMAGE1"], ["IMAGE1", "IMAGE2", "a"]])
def test_a_key_of_a_client_places_nothing_that_has_no_texts_beside_it(contents: list[str]):
    claimed = [{**part, INLINE: True} if media_modality(part) else part for part in parts(*contents)]
    assert [part[INLINE] for part in place_media(claimed) if media_modality(part)] == [
        False for part in claimed if media_modality(part)
    ]


def test_every_part_that_carries_a_medium_has_its_modality():
    kinds = [
        "image_url",
        "input_image",
        "image_pil",
        "image_embeds",
        "video_url",
        "video_embeds",
        "text",
        None,
    ]
    modalities = [media_modality({} if kind is None else {"type": kind}) for kind in kinds]
    assert modalities == ["image"] * 4 + ["video"] * 2 + [None] * 2
