"""Small tokenizers of InternLM's kinds, which sentencepiece trains for a test.

Their files are those of a published checkpoint, except its code. InternLM2's model file holds normal pieces.
InternLM3's holds the same kind of pieces, but calls all of them user-defined.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from tests.checkpoints import write_json

Kind = Literal["InternLM2Tokenizer", "InternLM3Tokenizer"]

WORDS = ["the", "quick", "fox", "hello", "你好", "图像", "step", "counts", "it?", "A:", "12", "345", " the"]
UNUSED = ["[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]


@dataclass(frozen=True)
class SmallTokenizer:
    """The folder of a tokenizer, and the ids of the chat's tokens in it."""

    directory: Path
    ids: dict[str, int]

    @property
    def oracle(self) -> Any:
        """sentencepiece itself, on the same model file."""
        return sentencepiece.SentencePieceProcessor(model_file=str(self.directory / "tokenizer.model"))


def write_tokenizer(directory: Path, kind: Kind, *, dummy_prefix: bool) -> SmallTokenizer:
    """Train a tokenizer on random sentences, and write its files into a new folder."""
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
    if kind == "InternLM3Tokenizer":
        _define_all_pieces(directory / "tokenizer.model")
    free = SmallTokenizer(directory, {}).oracle.piece_to_id(UNUSED)
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
    return SmallTokenizer(directory, ids)


def _define_all_pieces(model: Path) -> None:
    proto = SentencePieceExtractor(str(model)).proto
    for piece in proto.pieces:
        if piece.type == piece.NORMAL:
            piece.type = piece.USER_DEFINED
    model.write_bytes(proto.SerializeToString())
