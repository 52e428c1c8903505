"""The real tokenizers of InternVL3 and InternVL3.5, built from Qwen's tokens in the package dashscope.

The package (Alibaba, Apache 2.0) brings 151,643 byte sequences with their ranks, and none of its code is run.
A rank is also the order of merging: a sequence of several bytes is made by the merge that joins the two parts
into which the sequences of lower rank divide it. The added tokens stand below. What is built is compared by
its SHA-256 with the published `tokenizer.json`.
"""

import base64
import hashlib
import json
from functools import cache
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import tiktoken

from tests.checkpoints import write_json

Family = Literal["InternVL3", "InternVL3.5", "InternVL3.5 in transformers' layout"]

FIRST_ADDED = 151643
_QWEN = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
_QWEN_PLAIN = (  # These are added tokens too, but not special ones: a decoder keeps them.
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
_QWEN3_PLAIN = ("<tool_response>", "</tool_response>", "<think>", "</think>")
_INTERNVL = (
    *("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"),
)
ADDED_TOKENS: dict[Family, tuple[str, ...]] = {
    "InternVL3": (*_QWEN, *_QWEN_PLAIN, *_INTERNVL),
    "InternVL3.5": (*_QWEN, *_QWEN_PLAIN, *_QWEN3_PLAIN, *_INTERNVL),
    "InternVL3.5 in transformers' layout": (*_QWEN, *_QWEN_PLAIN, *_QWEN3_PLAIN, *_INTERNVL, "<video>"),
}
"""The added tokens of each family, in the order of their ids, which begin at FIRST_ADDED."""

SHA256: dict[Family, str] = {
    "InternVL3": "ff61d7c33ad80987e37bcbeeeae7457c8e77d14a43a954fcde7be656fc26d6a9",
    "InternVL3.5": "6581c44164d273d4222df982905a7e0450dcf3a4a7ebe98f9ec53e4de05beffe",
    "InternVL3.5 in transformers' layout": "7b9d18660f656ae5a87df2d5d6ed990e80f292d3473c1a35cae8259a5d28cd67",
}
"""The digest of the published `tokenizer.json` of each family."""

TOKENS_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""How Qwen splits a text before it merges bytes."""


@cache
def ranks() -> dict[bytes, int]:
    """Return Qwen's byte sequences with their ranks, which are also their ids."""
    path = distribution("dashscope").locate_file("dashscope/resources/qwen.tiktoken")
    content = Path(str(path)).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    assert found == TOKENS_SHA256, f"dashscope brings other tokens ({found}): pin the version that was tested"
    lines = (line.split() for line in content.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def added_ids(family: Family) -> dict[str, int]:
    """Return the ids of a family's added tokens."""
    return {token: FIRST_ADDED + index for index, token in enumerate(ADDED_TOKENS[family])}


@cache
def rank_encoder(family: Family) -> tiktoken.Encoding:
    """Return an encoder that works on the ranks alone, without merges: the independent reference."""
    return tiktoken.Encoding(
        family, pat_str=PATTERN, mergeable_ranks=ranks(), special_tokens=added_ids(family)
    )


def write_qwen_tokenizer(directory: Path, family: Family) -> Path:
    """Write `tokenizer.json` and `tokenizer_config.json` of a family, and return the folder.

    The config has the published keys that a tokenizer class reads. It has no chat template.
    """
    text = _tokenizer_json(family)
    found = hashlib.sha256(text.encode()).hexdigest()
    assert found == SHA256[family], f"this isn't the published tokenizer.json of {family}: {found}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    write_json(
        directory / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(token.pop("id")): token for token in _added_tokens(family)},
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 12288 if family == "InternVL3" else 14588,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    return directory


def _added_tokens(family: Family) -> list[dict[str, Any]]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    no_special = {*_QWEN_PLAIN, *_QWEN3_PLAIN}
    return [
        {"id": number, "content": token, **plain, "special": token not in no_special}
        for token, number in added_ids(family).items()
    ]


@cache
def _vocab_and_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the byte sequences as GPT-2 writes them with their ids, and the merges in their order."""
    letters = _letters()

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    order = ranks()
    merges = [_halves(token, order) for token in order if len(token) > 1]
    return (
        {written(token): rank for token, rank in order.items()},
        [(written(left), written(right)) for left, right in merges],
    )


def _letters() -> list[str]:
    """Return GPT-2's letter for each byte: the printable ones as they are, and the others from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = sorted(set(range(256)) - printable)
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def _halves(token: bytes, order: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two parts that are left when the merges of lower rank have been applied to a sequence."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        ranked = [order.get(left + right, len(order)) for left, right in pairwise(parts)]
        first = ranked.index(min(ranked))
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    return parts[0], parts[1]


def _tokenizer_json(family: Family) -> str:
    """Return the file's text. Newer libraries wrote InternVL3.5's, and spell some things otherwise."""
    newer = family != "InternVL3"
    vocab, merges = _vocab_and_merges()

    def byte_level(*, add_prefix_space: bool, trim_offsets: bool, use_regex: bool) -> dict[str, Any]:
        options = {"add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets, "use_regex": use_regex}
        return {"type": "ByteLevel"} | options

    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    bytes_only = byte_level(add_prefix_space=False, trim_offsets=newer, use_regex=False)
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None}
    model |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False}
    model |= {"byte_fallback": False} | ({"ignore_merges": False} if newer else {})
    model |= {"vocab": vocab, "merges": merges if newer else [" ".join(pair) for pair in merges]}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(family),
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes_only]},
        "post_processor": byte_level(add_prefix_space=newer, trim_offsets=False, use_regex=newer),
        "decoder": byte_level(add_prefix_space=newer, trim_offsets=newer, use_regex=newer),
        "model": model,
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
