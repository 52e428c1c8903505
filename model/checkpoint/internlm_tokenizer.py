"""InternLM's tokenizers: InternVL2.5, VisualPRM and InternVL3-9B bring them as code beside `tokenizer.model`.

transformers knows neither class and would run that code. What it does is little: special tokens are cut out,
and what stands between them goes through sentencepiece as the model file says, with or without a space put in
front. Sources: OpenGVLab/InternVL `tokenization_internlm2.py` and `tokenization_internlm2_fast.py`;
InternLM3's `tokenization_internlm3.py`.
"""

from typing import Any

from tokenizers import decoders, normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedConfig
from transformers.convert_slow_tokenizer import SentencePieceExtractor

_SPACE = "▁"  # sentencepiece's own sign for it


class InternLM2Tokenizer(LlamaTokenizer):
    """Llama's tokenizer on sentencepiece's terms. transformers finds it by its name, so that stays."""

    def __init__(self, vocab: Any = None, merges: Any = None, **kwargs: Any) -> None:
        file = kwargs.get("vocab_file")
        if file and str(file).endswith(".model"):
            spec = SentencePieceExtractor(file).proto.normalizer_spec
            kwargs["add_prefix_space"] = spec.add_dummy_prefix
        if isinstance(vocab, dict):
            vocab = _with_added(vocab, kwargs.get("added_tokens_decoder", {}))
        super().__init__(vocab, merges, **kwargs)
        in_front = [normalizers.Prepend(_SPACE)] if self.add_prefix_space else []
        backend = self.backend_tokenizer
        backend.normalizer = normalizers.Sequence([*in_front, normalizers.Replace(" ", _SPACE)])
        backend.pre_tokenizer = None
        undone = [decoders.Strip(content=" ", left=1)] if self.add_prefix_space else []
        backend.decoder = decoders.Sequence(
            [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *undone]
        )


class InternLM3Tokenizer(InternLM2Tokenizer):
    """The same under the name that InternLM3's checkpoints give it."""


class InternLM2Config(PreTrainedConfig):
    """Nothing but a key: transformers registers tokenizers by config classes."""

    model_type = "internlm2"


class InternLM3Config(PreTrainedConfig):
    """Likewise."""

    model_type = "internlm3"


def register_tokenizers() -> None:
    """Lets `AutoTokenizer` know both classes, and so run no code. Repeating is harmless."""
    AutoTokenizer.register(InternLM2Config, fast_tokenizer_class=InternLM2Tokenizer, exist_ok=True)
    AutoTokenizer.register(InternLM3Config, fast_tokenizer_class=InternLM3Tokenizer, exist_ok=True)


def _with_added(vocab: dict[str, int], added: dict[int, Any]) -> dict[str, int]:
    """The vocabulary with the chat's tokens in the places that the model file keeps free for them."""
    pieces = {number: piece for piece, number in vocab.items()}
    pieces |= {number: str(token) for number, token in added.items() if number in pieces}
    return {piece: number for number, piece in pieces.items()}
