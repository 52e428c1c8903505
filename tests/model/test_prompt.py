"""Placeholders in both styles become one context token for each image, and what doesn't add up is refused."""

import pytest

from model.prompt import ImageTokens, image_run, image_tokens, place_images
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


def test_an_image_is_one_framed_run():
    assert image_run(ImageTokens(start=1, end=2, context=3), 4) == [1, 3, 3, 3, 3, 2]


@pytest.mark.parametrize("images", [0, 1, 3])
def test_context_tokens_stay_where_they_are(images: int):
    prompt = ids("Hello <IMG_CONTEXT>\n" * images + "?")
    assert place_images(prompt, images, TOKENS, TOKENIZER) == prompt


def test_text_placeholders_become_context_tokens():
    prompt = ids("<|im_start|>user\nImage-1: <image>\nImage-2: <image>\nWhich é?<|im_end|>\n")
    expected = ids("<|im_start|>user\nImage-1: <IMG_CONTEXT>\nImage-2: <IMG_CONTEXT>\nWhich é?<|im_end|>\n")
    assert place_images(prompt, 2, TOKENS, TOKENIZER) == expected


@pytest.mark.parametrize(
    ("text", "images", "found"),
    [
        ("no placeholder", 1, 0),
        ("<image>", 2, 1),
        ("<image><image>", 1, 2),
        ("<IMG_CONTEXT><IMG_CONTEXT>", 1, 2),
    ],
)
def test_placeholders_must_match_the_images(text: str, images: int, found: int):
    with pytest.raises(ValueError, match=f"has {found} image placeholders for {images} images"):
        place_images(ids(text), images, TOKENS, TOKENIZER)
