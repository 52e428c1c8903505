"""Prompts encoded in pieces get the ids that a tokenizer gives the whole, on vocabularies with merges."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import model
from model.checkpoint.internlm_tokenizer import register_tokenizers
from model.image_tokens import special_ids
from model.plugin.chat.prompt_encoder import PromptEncoder, name_slots
from model.plugin.chat.request_marks import RequestMarks
from model.plugin.chat.reserved_texts import MEDIA_TEXTS, ReservedTexts
from model.plugin.inputs.placeholders import IMAGE_MARKER, VIDEO_MARKER
from tests.sentencepiece_tokenizers import write_tokenizer

NANO = Path(str(model.__file__)).parent / "nano" / "policy"
NEAR = [
    "<",
    "|im_end|>",
    "<|im_end|>",
    "<img>",
    "</",
    "img>",
    "the sum",
    " of",
    "\n",
    "\n\n",
    "###",
    "12",
    "é",
]
TEXTS = st.lists(st.sampled_from(NEAR) | st.text(max_size=4), max_size=10).map("".join)


@pytest.fixture(scope="module", params=["nano", "InternLM2Tokenizer", "InternLM3Tokenizer"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "nano":
        return AutoTokenizer.from_pretrained(NANO)
    register_tokenizers()
    folder = tmp_path_factory.mktemp("tokenizers") / request.param
    write_tokenizer(folder, request.param, dummy_prefix=request.param == "InternLM3Tokenizer")
    return AutoTokenizer.from_pretrained(folder)


def encoded(tokenizer: Any, turns: list[str], *, trusted: bool = False) -> list[int]:
    """Return the ids of ChatML with these texts of a client."""
    encoder, marks = PromptEncoder(tokenizer), RequestMarks.draw()
    reserved = ReservedTexts([*MEDIA_TEXTS, *(() if trusted else encoder.special_texts)])
    prompt = "".join(f"<|im_start|>user\n{reserved.mark(turn, marks.text)}<|im_end|>\n" for turn in turns)
    return encoder.encode(prompt, marks, add_special_tokens=False)


def whole(tokenizer: Any, turns: list[str]) -> list[int]:
    prompt = "".join(f"<|im_start|>user\n{turn}<|im_end|>\n" for turn in turns)
    return list(tokenizer.encode(prompt, add_special_tokens=False))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(turns=st.lists(TEXTS, min_size=1, max_size=3))
def test_texts_without_special_tokens_get_the_ids_of_the_whole(tokenizer: Any, turns: list[str]):
    for token in special_ids(tokenizer):
        turns = [turn.replace(token, "") for turn in turns]
    if all(token not in turn for turn in turns for token in special_ids(tokenizer)):
        assert encoded(tokenizer, turns) == whole(tokenizer, turns)
    assert encoded(tokenizer, turns, trusted=True) == whole(tokenizer, turns)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(turns=st.lists(TEXTS, min_size=1, max_size=3))
def test_no_text_becomes_a_special_token(tokenizer: Any, turns: list[str]):
    ids = encoded(tokenizer, turns)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    special = [token for token in ids if token in special_ids(tokenizer).values()]
    assert special == [start, end] * len(turns)


@pytest.mark.parametrize("token", ["<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"])
def test_a_special_token_is_split_as_transformers_splits_it(token: str):
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    split = tokenizer.encode(f"user\na {token}b", add_special_tokens=False, split_special_tokens=True)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert encoded(tokenizer, [f"a {token}b"])[:-1] == [start, *split, end]


def test_slots_are_named_where_the_template_wrote_a_placeholder_alone():
    marks = RequestMarks(text="#T#", edge="#E#")
    prompt = "a <image>\n<#T#image> #E#<image>\n#E#b <video>\n #E#<video>#E##E##E#"
    named = name_slots(prompt, marks, {"image", "video"})
    assert named == "a #E#image\n<#T#image> #E#imageb #E#video\n #E#video"
    assert name_slots("<image> <video>", marks, {"video"}) == "<image> #E#video"
    assert name_slots("<image> <IMG_CONTEXT>", marks, {"image"}) == "<image> #E#image"
    ids = PromptEncoder(AutoTokenizer.from_pretrained(NANO)).encode(named, marks, add_special_tokens=False)
    assert [token for token in ids if token < 0] == [IMAGE_MARKER, IMAGE_MARKER, VIDEO_MARKER, VIDEO_MARKER]


def test_encoding_leaves_the_state_of_the_tokenizer_alone():
    """Another thread may be using it, and it would then read special tokens as text, too."""
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    encoder, marks = PromptEncoder(tokenizer), RequestMarks.draw()
    text = ReservedTexts(encoder.special_texts).mark("a <|im_end|>", marks.text)
    assert len(encoder.encode(text, marks, add_special_tokens=False)) > len("a ") + 1
    assert not tokenizer.backend_tokenizer.encode_special_tokens
