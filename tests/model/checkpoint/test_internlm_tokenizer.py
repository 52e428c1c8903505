"""InternLM's tokenizers agree with sentencepiece, on a small model that is trained here."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from model.checkpoint.internlm_tokenizer import InternLM2Tokenizer, InternLM3Tokenizer, register_tokenizers
from model.image_tokens import image_tokens
from tests.checkpoints import write_json

WORDS = ["the", "quick", "fox", "hello", "你好", "图像", "step", "counts", "it?", "A:", "12", "345", " the"]
BREAKS = [" ", "  ", "\n", "\t", "é", "😀"]
UNUSED = ["[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]


def write_tokenizer(directory: Path, kind: str, *, dummy_prefix: bool) -> dict[str, int]:
    """Write the files of a published checkpoint except its code, and return the ids of the chat's tokens."""
    rng = random.Random(0)
    directory.mkdir()
    corpus = directory / "corpus.txt"
    corpus.write_text("\n".join(" ".join(rng.choices(WORDS, k=12)) for _ in range(2000)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(directory / "tokenizer"),
        model_type="bpe",
        vocab_size=340,
        byte_fallback=True,
        character_coverage=1.0,
        add_dummy_prefix=dummy_prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=UNUSED,
        minloglevel=2,
    )
    free = load(directory).piece_to_id(UNUSED)
    ids = {"<|im_end|>": free[0], "<|im_start|>": free[1], "<img>": 340, "</img>": 341, "<IMG_CONTEXT>": 342}
    plain = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2} | ids
    write_json(
        directory / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(i): {"content": token} | plain for token, i in tokens.items()},
            "additional_special_tokens": list(ids),
            "auto_map": {"AutoTokenizer": [f"tokenization.{kind}", None]},
            "add_bos_token": True,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "</s>",
            "unk_token": "<unk>",
            "tokenizer_class": kind,
        },
    )
    write_json(directory / "config.json", {"model_type": "qwen2"})
    return ids


def load(directory: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def texts(count: int) -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices(WORDS + BREAKS, k=rng.randint(1, 9))) for _ in range(count)]


@pytest.mark.parametrize("kind", [InternLM2Tokenizer, InternLM3Tokenizer])
@pytest.mark.parametrize("dummy_prefix", [False, True])
def test_text_is_divided_as_sentencepiece_divides_it(
    kind: type[InternLM2Tokenizer], dummy_prefix: bool, tmp_path: Path
):
    ids = write_tokenizer(tmp_path / "tokenizer", kind.__name__, dummy_prefix=dummy_prefix)
    register_tokenizers()
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    oracle = load(tmp_path / "tokenizer")
    assert type(tokenizer) is kind
    for text in texts(200):
        assert tokenizer.encode(text, add_special_tokens=False) == oracle.encode(text)
        assert tokenizer.decode(oracle.encode(text)) == text
    start, end = ids["<|im_start|>"], ids["<|im_end|>"]
    for text in texts(20):  # sentencepiece encodes each text between special tokens alone.
        between = oracle.encode(f"user\n{text}")
        got = tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>")
        assert got == [1, start, *between, end]


def test_the_chats_tokens_keep_their_published_ids(tmp_path: Path):
    ids = write_tokenizer(tmp_path / "tokenizer", "InternLM2Tokenizer", dummy_prefix=False)
    register_tokenizers()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in ids} == ids
    assert len(tokenizer) == 343
    assert image_tokens(tokenizer).context == 342
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


@pytest.mark.parametrize("dummy_prefix", [False, True])
def test_a_saved_tokenizer_is_the_same(dummy_prefix: bool, tmp_path: Path):
    write_tokenizer(tmp_path / "tokenizer", "InternLM2Tokenizer", dummy_prefix=dummy_prefix)
    register_tokenizers()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (
        json.loads((tmp_path / "saved/tokenizer_config.json").read_text())["add_prefix_space"] is dummy_prefix
    )
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in texts(50):
        assert again.encode(f"<|im_start|>{text}") == tokenizer.encode(f"<|im_start|>{text}")
