"""vLLM's tokenizer for InternVL, whose decoded text keeps the tokens that mark objects in an image."""

import json
from typing import Any

from tokenizers import Tokenizer
from vllm.tokenizers.hf import CachedHfTokenizer

from model.image_tokens import GROUNDING_TOKENS

_ADDED_TOKENS = '"added_tokens":'


class InternVLTokenizer(CachedHfTokenizer):
    """The tokenizer of a checkpoint, with `GROUNDING_TOKENS` as tokens that aren't special.

    InternVL's published code decodes with transformers' slow tokenizer, which keeps these tokens in the text
    although the checkpoint's files call them special. A fast tokenizer would leave them out of every answer.
    Their ids don't change, and in a prompt they stay one token each.
    """

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the tokenizer; the arguments are those of vLLM's class."""
        tokenizer = super().from_pretrained(*args, **kwargs)
        if tokenizer.is_fast:
            keep_grounding_tokens(tokenizer.backend_tokenizer)
        return tokenizer


def keep_grounding_tokens(backend: Tokenizer) -> None:
    """Make `GROUNDING_TOKENS` ordinary added tokens of a tokenizer, in place.

    The library has no method for that, so its JSON state is changed. The vocabulary in it isn't parsed, which
    would take most of the time.
    """
    state = backend.to_str()
    begin = state.index(_ADDED_TOKENS) + len(_ADDED_TOKENS)
    added_tokens, end = json.JSONDecoder().raw_decode(state, begin)
    grounding = [token for token in added_tokens if token["content"] in GROUNDING_TOKENS]
    for token in grounding:
        token["special"] = False
    if grounding:
        backend.__setstate__(f"{state[:begin]}{json.dumps(added_tokens)}{state[end:]}".encode())
