"""Images and videos stand where they belong in prompts of the real vocabulary, under their published ids."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.image_tokens import frame_labels
from tests.checkpoints import Language, Layout, build_checkpoint
from tests.processors import processor_of
from tests.qwen_tokenizer import Family, rank_encoder, write_qwen_tokenizer

PER_TILE = 4
FRAMES = [Image.fromarray(np.full((56, 56, 3), shade, dtype=np.uint8)) for shade in (0, 90, 200)]
WIDE = Image.fromarray(np.zeros((190, 300, 3), dtype=np.uint8))  # 2 x 3 tiles and a thumbnail
SMALL = FRAMES[0]


@dataclass(frozen=True)
class Vocabulary:
    """A family's checkpoint: the ids of the three image tokens, and the text that stands for an image."""

    family: Family
    layout: Layout
    language: Language
    start: int
    end: int
    context: int
    placeholder: str

    def ids(self, text: str) -> list[int]:
        return rank_encoder(self.family).encode(text, allowed_special="all")

    def image_run(self, tiles: int) -> list[int]:
        return [self.start, *[self.context] * (PER_TILE * tiles), self.end]


VOCABULARIES = (
    Vocabulary("InternVL3", "opengvlab", "qwen2", 151665, 151666, 151667, "<image>"),
    Vocabulary("InternVL3.5", "opengvlab", "qwen3", 151669, 151670, 151671, "<image>"),
    # Here "<video>" is a token of its own.
    Vocabulary(
        "InternVL3.5 in transformers' layout",
        "transformers",
        "qwen3",
        151669,
        151670,
        151671,
        "<IMG_CONTEXT>",
    ),
)


@pytest.fixture(scope="module", params=VOCABULARIES, ids=lambda vocabulary: vocabulary.family)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return request.param


@pytest.fixture(scope="module")
def processor(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("vocabulary")
    files = write_qwen_tokenizer(folder / "tokenizer", vocabulary.family)
    return processor_of(
        build_checkpoint(
            folder / "checkpoint", vocabulary.layout, language=vocabulary.language, tokenizer_files=files
        )
    )


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
def test_images_stand_between_their_texts(
    processor: Any, vocabulary: Vocabulary, before: str, between: str, after: str
):
    image, ids = vocabulary.placeholder, vocabulary.ids
    prompt = f"<|im_start|>user\n{before}{image}{between}{image}{after}<|im_end|>\n<|im_start|>assistant\n"
    assert process(processor, prompt, [WIDE, SMALL]) == [
        *ids(f"<|im_start|>user\n{before}"),
        *vocabulary.image_run(7),
        *ids(between),
        *vocabulary.image_run(1),
        *ids(f"{after}<|im_end|>\n<|im_start|>assistant\n"),
    ]


def test_every_frame_of_a_video_has_its_label(processor: Any, vocabulary: Vocabulary):
    """The text and the first label are one text, so that a space between them joins the label's word."""
    prompt = "<|im_start|>user\nWatch: <video>\nWhat happens?<|im_end|>\n<|im_start|>assistant\n"
    first, second, third = frame_labels(len(FRAMES))
    frame, ids = vocabulary.image_run(1), vocabulary.ids
    assert process(processor, prompt, [], [FRAMES]) == [
        *ids(f"<|im_start|>user\nWatch: {first}"),
        *frame,
        *ids(f"\n{second}"),
        *frame,
        *ids(f"\n{third}"),
        *frame,
        *ids("\nWhat happens?<|im_end|>\n<|im_start|>assistant\n"),
    ]
