"""InternLM's tokenizers as classes of this project, so that no code from a checkpoint runs.

InternVL2.5, VisualPRM and InternVL3-9B bring these tokenizers as Python code beside `tokenizer.model`.
transformers has neither class and would run that code. The code cuts out the special tokens and encodes the
text between them with sentencepiece. The model file decides whether a space is put in front and how the text
is cut. InternLM2's pieces are merged as in every BPE. InternLM3's are all user-defined: sentencepiece merges
nothing then, and takes the longest piece at each place. Sources: OpenGVLab/InternVL
`tokenization_internlm2.py` and `tokenization_internlm2_fast.py`; InternLM3's `tokenization_internlm3.py`.
"""

import os
from typing import Any, ClassVar

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from .longest_match import longest_match
from .regex_warning import drop_regex_warning

_SPACE = "▁"  # The sign with which sentencepiece writes a space.


class InternLM2Tokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer with the rules of the checkpoint's sentencepiece model.

    transformers finds the class by its name, so the name must stay.
    """

    vocab_files_names: ClassVar = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}
    model_input_names: ClassVar = ["input_ids", "attention_mask"]
    padding_side = "left"

    @classmethod
    def convert_to_native_format(cls, **kwargs: Any) -> dict[str, Any]:
        """Return the constructor's arguments, with the tokenizer of the files."""
        if kwargs.get("tokenizer_file") or not kwargs.get("vocab_file"):
            return super().convert_to_native_format(**kwargs)
        extractor = SentencePieceExtractor(kwargs["vocab_file"])
        prefix = extractor.proto.normalizer_spec.add_dummy_prefix
        tokenizer = _model_tokenizer(extractor, kwargs.get("added_tokens_decoder", {}))
        tokenizer.normalizer = normalizers.Sequence(
            [*([normalizers.Prepend(_SPACE)] if prefix else []), normalizers.Replace(" ", _SPACE)]
        )
        remove_space = [decoders.Strip(content=" ", left=1)] if prefix else []
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *remove_space]
        )
        return kwargs | {"add_prefix_space": prefix, "tokenizer_object": tokenizer}


class InternLM3Tokenizer(InternLM2Tokenizer):
    """The same tokenizer under the name that InternLM3's checkpoints use."""


class InternLM2Config(PreTrainedConfig):
    """The key under which `AutoTokenizer` finds `InternLM2Tokenizer`; no model is built from it."""

    model_type = "internlm2"


class InternLM3Config(PreTrainedConfig):
    """The key under which `AutoTokenizer` finds `InternLM3Tokenizer`; no model is built from it."""

    model_type = "internlm3"


def register_tokenizers() -> None:
    """Register both classes with `AutoTokenizer`, which then runs no code from the checkpoint.

    A second call changes nothing.
    """
    AutoTokenizer.register(InternLM2Config, fast_tokenizer_class=InternLM2Tokenizer, exist_ok=True)
    AutoTokenizer.register(InternLM3Config, fast_tokenizer_class=InternLM3Tokenizer, exist_ok=True)


def checkpoint_tokenizer(checkpoint: str | os.PathLike[str]) -> Any:
    """Return the tokenizer of a checkpoint, a folder or a name on the hub, without running code from it.

    Raises OSError if a file is missing.
    """
    register_tokenizers()
    drop_regex_warning()
    return AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)


def _model_tokenizer(extractor: SentencePieceExtractor, added: dict[int, Any]) -> Tokenizer:
    """Return a tokenizer with the model's pieces and with the model's way to cut a text.

    The chat's tokens are `added`. Some of them take ids that the model file keeps free under other names.
    """
    pieces = list(extractor.proto.pieces)
    names = {number: piece.piece for number, piece in enumerate(pieces)}
    names |= {number: str(token) for number, token in added.items() if number in names}
    vocab = {name: number for number, name in names.items()}
    options = {"fuse_unk": True, "byte_fallback": True}
    if any(piece.type == piece.NORMAL for piece in pieces):
        merges = extractor.extract(BPE)["merges"]
        return Tokenizer(BPE(vocab=vocab, merges=merges, **options))
    # Every text is split into the longest pieces first, so that the model only looks up their ids. A special
    # token was cut out before. Where its name is plain text, it's divided like any other text.
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=[], ignore_merges=True, **options))
    special = {str(token) for token in added.values() if token.special}
    defined = {names[number] for number, piece in enumerate(pieces) if piece.type == piece.USER_DEFINED}
    pattern = Regex(longest_match(defined - special))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="isolated")
    return tokenizer
