"""vLLM's tokenizer mode `internvl3`, which chooses our tokenizer and our renderer for our models."""

from vllm.config import ModelConfig
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.registry import TokenizerRegistry

TOKENIZER_MODE = "internvl3"


def choose_tokenizer_mode(model_config: ModelConfig) -> None:
    """Choose our tokenizer mode for an engine, unless its operator chose one."""
    if model_config.tokenizer_mode == "auto":
        model_config.tokenizer_mode = TOKENIZER_MODE


def register_mode() -> None:
    """Register the mode; a second call changes nothing."""
    if TOKENIZER_MODE not in TokenizerRegistry.tokenizers:
        TokenizerRegistry.register(TOKENIZER_MODE, "model.plugin.chat.tokenizer", "InternVLTokenizer")
        RENDERER_REGISTRY.register(TOKENIZER_MODE, "model.plugin.chat.renderer", "InternVLRenderer")
