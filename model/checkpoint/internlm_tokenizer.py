"""InternLM's tokenizers as classes of this project, so that no code from a checkpoint runs.

InternVL2.5, VisualPRM and InternVL3-9B bring these tokenizers as Python code beside `tokenizer.model`.
transformers has neither class and would run that code. The code cuts out the special tokens and encodes the
text between them with sentencepiece; the model file decides whether a space is put in front. Sources:
OpenGVLab/InternVL `tokenization_internlm2.py` and `tokenization_internlm2_fast.py`; InternLM3's
`tokenization_internlm3.py`.
"""

from typing import Any

from tokenizers import decoders, normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedConfig
from transformers.convert_slow_tokenizer import SentencePieceExtractor

_SPACE = "▁"  # The sign with which sentencepiece writes a space.


class InternLM2Tokenizer(LlamaTokenizer):
    """Llama's tokenizer with the rules of the checkpoint's sentencepiece model.

    transformers finds the class by its name, so the name must stay.
    """

    def __init__(self, vocab: Any = None, merges: Any = None, **kwargs: Any) -> None:
        file = kwargs.get("vocab_file")
        if file and str(file).endswith(".model"):
            spec = SentencePieceExtractor(file).proto.normalizer_spec
            kwargs["add_prefix_space"] = spec.add_dummy_prefix
        if isinstance(vocab, dict):
            vocab = _with_added(vocab, kwargs.get("added_tokens_decoder", {}))
        super().__init__(vocab, merges, **kwargs)
        add_space = [normalizers.Prepend(_SPACE)] if self.add_prefix_space else []
        backend = self.backend_tokenizer
        backend.normalizer = normalizers.Sequence([*add_space, normalizers.Replace(" ", _SPACE)])
        backend.pre_tokenizer = None
        remove_space = [decoders.Strip(content=" ", left=1)] if self.add_prefix_space else []
        backend.decoder = decoders.Sequence(
            [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *remove_space]
        )


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


def _with_added(vocab: dict[str, int], added: dict[int, Any]) -> dict[str, int]:
    """Return the vocabulary with the chat's tokens at the ids that the model file keeps free for them."""
    pieces = {number: piece for piece, number in vocab.items()}
    pieces |= {number: str(token) for number, token in added.items() if number in pieces}
    return {piece: number for number, piece in pieces.items()}
