"""vLLM's tokenizer mode `internvl3`, which chooses our tokenizer and our renderer for our models."""

from vllm.config import ModelConfig
from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.registry import TokenizerRegistry

from model.plugin.architectures import CLASSES

TOKENIZER_MODE = "internvl3"


def choose_tokenizer_mode(model_config: ModelConfig) -> None:
    """Choose our tokenizer mode for an engine, unless its operator chose one."""
    if model_config.tokenizer_mode == "auto":
        model_config.tokenizer_mode = TOKENIZER_MODE


class InternVLModelConfig(VerifyAndUpdateConfig):
    """What vLLM changes in the configuration of an engine that serves one of our models."""

    @staticmethod
    def verify_and_update_model_config(model_config: ModelConfig) -> None:
        choose_tokenizer_mode(model_config)


def register_mode() -> None:
    """Register the mode, and make it the default of our models; a second call changes nothing."""
    if TOKENIZER_MODE not in TokenizerRegistry.tokenizers:
        TokenizerRegistry.register(TOKENIZER_MODE, "model.plugin.chat.tokenizer", "InternVLTokenizer")
        RENDERER_REGISTRY.register(TOKENIZER_MODE, "model.plugin.chat.renderer", "InternVLRenderer")
    for architecture in CLASSES:
        MODELS_CONFIG_MAP[architecture] = InternVLModelConfig
