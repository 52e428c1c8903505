"""The real vocabulary of InternVL3 and 3.5 is built as published, and our code reads it correctly."""

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from model.checkpoint.end_of_turn import end_of_turn
from model.checkpoint.templates import DEFAULT_TEMPLATE, chat_template, system_message
from model.image_tokens import ImageTokens, image_tokens
from tests.published import published
from tests.qwen_tokenizer import SHA256, Family, added_ids, rank_encoder, write_qwen_tokenizer

# The family of each published folder whose files were found.
FOLDERS: dict[str, Family] = {
    "InternVL3-2B": "InternVL3",
    "InternVL3-8B": "InternVL3",
    "InternVL3_5-4B": "InternVL3.5",
    "InternVL3_5-8B-HF": "InternVL3.5 in transformers' layout",
}
IMAGE_TOKENS: dict[Family, ImageTokens] = {
    "InternVL3": ImageTokens(start=151665, end=151666, context=151667),
    "InternVL3.5": ImageTokens(start=151669, end=151670, context=151671),
    "InternVL3.5 in transformers' layout": ImageTokens(start=151669, end=151670, context=151671),
}
MESSAGES = [
    {"role": "system", "content": system_message(DEFAULT_TEMPLATE)},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "图中有几只猫？ How many?"}]},
    {"role": "assistant", "content": "Two.\n\n3 + 4 = 7"},
    {"role": "user", "content": "Sure?\n"},
]
# `Conversation.get_prompt` of OpenGVLab/InternVL for these messages, with an open assistant turn.
PROMPT = (
    f"<|im_start|>system\n{system_message(DEFAULT_TEMPLATE)}<|im_end|>\n"
    "<|im_start|>user\n<image>\n图中有几只猫？ How many?<|im_end|>\n"
    "<|im_start|>assistant\nTwo.\n\n3 + 4 = 7<|im_end|>\n"
    "<|im_start|>user\nSure?\n<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture(scope="module", params=SHA256)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def folder(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The family's tokenizer; writing it checks its SHA-256 against the published file's."""
    return write_qwen_tokenizer(tmp_path_factory.mktemp("tokenizer"), family)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_text_is_encoded_as_the_ranks_say(family: Family, tokenizer: Any):
    reference = rank_encoder(family)

    @given(
        st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]))
        | st.sampled_from([PROMPT, "", "  \n\n x"])
    )
    def check(text: str) -> None:
        text = normalize("NFC", text)
        ids = reference.encode(text, allowed_special="all")
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text

    check()


def test_the_conversation_template_gives_the_published_ids(family: Family, tokenizer: Any):
    text = tokenizer.apply_chat_template(
        MESSAGES, chat_template=chat_template(DEFAULT_TEMPLATE), tokenize=False, add_generation_prompt=True
    )
    assert text == PROMPT
    ids = tokenizer.encode(text)
    assert ids == rank_encoder(family).encode(PROMPT, allowed_special="all")
    assert ids[:3] == [151644, 8948, 198]  # <|im_start|>, system, a line break
    assert ids[-5:] == [151645, 198, 151644, 77091, 198]
    assert ids.count(151644) == 5 and ids.count(151645) == 4


def test_our_code_finds_the_tokens_of_images_and_of_the_end(family: Family, folder: Path, tokenizer: Any):
    assert image_tokens(tokenizer) == IMAGE_TOKENS[family]
    assert end_of_turn(folder) == 151645 == tokenizer.eos_token_id
    assert tokenizer.bos_token_id is None


@pytest.mark.parametrize("name", FOLDERS)
def test_the_added_tokens_are_those_of_the_published_folder(name: str, tmp_path: Path):
    directory, family = published(name), FOLDERS[name]
    (config,) = (json.loads(path.read_text()) for path in directory.glob("tokenizer_config*.json"))
    ours = json.loads((write_qwen_tokenizer(tmp_path, family) / "tokenizer_config.json").read_text())
    assert ours["added_tokens_decoder"] == config["added_tokens_decoder"]
    assert {key: config[key] for key in ours} == ours
    if (directory / "added_tokens.json").exists():
        assert json.loads((directory / "added_tokens.json").read_text()) == added_ids(family)
