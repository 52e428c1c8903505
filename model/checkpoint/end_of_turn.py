"""Find the id of the token that ends a turn, in a checkpoint's tokenizer files.

Published configs name another token: InternVL3's is `<|endoftext|>`, InternLM2's is `</s>`. OpenGVLab's code
looks up the separator of the conversation format in the tokenizer (`modeling_internvl_chat.py`, `chat`). The
separator is `<|im_end|>` in all supported formats.
"""

import json
import os
from typing import Any

from transformers.utils import cached_file

END_OF_TURN = "<|im_end|>"


def end_of_turn(checkpoint: str | os.PathLike[str]) -> int | None:
    """Return the id of `<|im_end|>` in a checkpoint's tokenizer files, or None if none of them holds it.

    `checkpoint` is a folder or a name on the hub.
    """
    added_tokens = _read(checkpoint, "tokenizer_config.json").get("added_tokens_decoder", {})
    for number, token in added_tokens.items():
        if token["content"] == END_OF_TURN:
            return int(number)
    # tokenizer.json has several megabytes, so it is read only if the smaller file didn't help.
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
