"""Images and videos stand where they belong in prompts of the real vocabulary, under their published ids."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.image_tokens import frame_labels
from tests.qwen_tokenizer import rank_encoder

START, END, CONTEXT = 151665, 151666, 151667
PER_TILE = 4
FRAMES = [Image.fromarray(np.full((56, 56, 3), shade, dtype=np.uint8)) for shade in (0, 90, 200)]
WIDE = Image.fromarray(np.zeros((190, 300, 3), dtype=np.uint8))  # 2 x 3 tiles and a thumbnail
SMALL = FRAMES[0]


def ids(text: str) -> list[int]:
    return rank_encoder("InternVL3").encode(text, allowed_special="all")


def image_run(tiles: int) -> list[int]:
    return [START, *[CONTEXT] * (PER_TILE * tiles), END]


def process(processor: Any, prompt: str, images: list[Any], videos: list[Any] | None = None) -> list[int]:
    media = {"image": images, "video": videos or []}
    items = processor.info.parse_mm_data({kind: values for kind, values in media.items() if values})
    token_ids: list[int] = processor(prompt, items, hf_processor_mm_kwargs={})["prompt_token_ids"]
    return token_ids


# In this vocabulary the text around a place for an image joins with it: "<", ">\n" and ".<" are tokens.
@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        ("", "\n", "\nWhat is it?"),
        ("First: ", " and ", "?"),
        ("a<", "><", ">"),
        ("图像", "，", "。\n\n"),
        ("(", ").\n", ".<b>"),
        ("\n\n", "\n\n\n", "\n"),
    ],
)
def test_images_stand_between_their_texts(qwen_processor: Any, before: str, between: str, after: str):
    prompt = f"<|im_start|>user\n{before}<image>{between}<image>{after}<|im_end|>\n<|im_start|>assistant\n"
    assert process(qwen_processor, prompt, [WIDE, SMALL]) == [
        *ids(f"<|im_start|>user\n{before}"),
        *image_run(7),
        *ids(between),
        *image_run(1),
        *ids(f"{after}<|im_end|>\n<|im_start|>assistant\n"),
    ]


def test_every_frame_of_a_video_has_its_label(qwen_processor: Any):
    """The text and the first label are one text, so that a space between them joins the label's word."""
    prompt = "<|im_start|>user\nWatch: <video>\nWhat happens?<|im_end|>\n<|im_start|>assistant\n"
    first, second, third = frame_labels(len(FRAMES))
    assert process(qwen_processor, prompt, [], [FRAMES]) == [
        *ids(f"<|im_start|>user\nWatch: {first}"),
        *image_run(1),
        *ids(f"\n{second}"),
        *image_run(1),
        *ids(f"\n{third}"),
        *image_run(1),
        *ids("\nWhat happens?<|im_end|>\n<|im_start|>assistant\n"),
    ]


def test_the_config_has_the_published_ids(qwen_processor: Any):
    tokenizer = qwen_processor.info.get_tokenizer()
    assert tokenizer.convert_tokens_to_ids(["<img>", "</img>", "<IMG_CONTEXT>"]) == [START, END, CONTEXT]
    assert qwen_processor.info.ctx.model_config.get_vocab_size() == 151674
