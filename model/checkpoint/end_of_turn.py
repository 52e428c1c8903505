"""Find the id of the token that ends a turn, in a checkpoint's tokenizer files.

Published configs name another token: InternVL3's is `<|endoftext|>`, InternLM2's is `</s>`. OpenGVLab's code
looks up the separator of the conversation format in the tokenizer (`modeling_internvl_chat.py`, `chat`). The
separator is `<|im_end|>` in all supported formats.
"""

import json
import os
from typing import Any

from .repository import read_file

END_OF_TURN = "<|im_end|>"


def end_of_turn(
    checkpoint: str | os.PathLike[str], *, revision: str | None = None, token: bool | str | None = None
) -> int | None:
    """Return the id of `<|im_end|>` in a checkpoint's tokenizer files, or None if none of them holds it.

    Args:
        checkpoint: a folder or a name on the hub.
        revision: the branch, tag or commit on the hub.
        token: the access token of the hub; True is the stored one.
    """

    def read(name: str) -> dict[str, Any]:
        text = read_file(checkpoint, name, revision=revision, token=token)
        return {} if text is None else json.loads(text)

    for number, added in read("tokenizer_config.json").get("added_tokens_decoder", {}).items():
        if added["content"] == END_OF_TURN:
            return int(number)
    # tokenizer.json has several megabytes, so it is read only if the smaller file didn't help.
    for added in read("tokenizer.json").get("added_tokens", []):
        if added["content"] == END_OF_TURN:
            return int(added["id"])
    return read("added_tokens.json").get(END_OF_TURN)
