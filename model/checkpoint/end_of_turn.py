"""The token that ends a turn, as the checkpoint's tokenizer files have it.

Published configs name another one: InternVL3's `<|endoftext|>`, InternLM2's `</s>`. OpenGVLab's code asks the
tokenizer for the separator of the conversation format, which is this token in all supported formats
(`modeling_internvl_chat.py`, `chat`).
"""

import json
import os
from typing import Any

from transformers.utils import cached_file

END_OF_TURN = "<|im_end|>"


def end_of_turn(checkpoint: str | os.PathLike[str]) -> int | None:
    """Id of `<|im_end|>` in a checkpoint's tokenizer files, or None where none of them has it.

    `checkpoint` is a folder or a name on the hub.
    """
    listed = _read(checkpoint, "tokenizer_config.json").get("added_tokens_decoder", {})
    for number, token in listed.items():
        if token["content"] == END_OF_TURN:
            return int(number)
    # The tokenizer itself last: it is megabytes.
    for token in _read(checkpoint, "tokenizer.json").get("added_tokens", []):
        if token["content"] == END_OF_TURN:
            return int(token["id"])
    return _read(checkpoint, "added_tokens.json").get(END_OF_TURN)


def _read(checkpoint: str | os.PathLike[str], name: str) -> dict[str, Any]:
    path = cached_file(
        checkpoint,
        name,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return {}
    with open(path) as file:
        content: dict[str, Any] = json.load(file)
    return content
