"""A tokenizer for texts in which special tokens are ordinary text, apart from the one that others share."""

import copy

from model.image_tokens import Tokenizer


class LiteralTokenizer:
    """A copy of a tokenizer that takes special tokens literally; the tokenizer itself stays as it is.

    `split_special_tokens` is an argument of a call, but transformers keeps it as a state of the tokenizer.
    While it is set there for one text, another thread would read a template's special tokens as text. Every
    call of this copy sets it, so the copy's state never changes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # Also a tokenizer that vLLM has made a pool of copies may be copied: it becomes a pool of its own.
        self._copy = copy.deepcopy(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without the tokens that the tokenizer puts around a prompt."""
        return (
            list(self._copy.encode(text, add_special_tokens=False, split_special_tokens=True)) if text else []
        )
