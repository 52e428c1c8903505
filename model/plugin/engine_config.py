"""What vLLM's configuration of an engine gets from us: length, stop tokens, tokenizer mode and a check.

vLLM asks the tables that `register_engine_config` writes to while it builds an engine's configuration. It
derives the length of a context from the first, and calls the classes of the second for an architecture.
"""

import logging
from functools import partial
from typing import Any

from vllm.config import ModelConfig, VllmConfig
from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
from vllm.transformers_utils.model_arch_config_convertor import (
    MODEL_ARCH_CONFIG_CONVERTORS,
    ModelArchConfigConvertorBase,
)

from model.checkpoint.config import InternVLChatConfig, InternVLConfig
from model.checkpoint.end_of_turn import end_of_turn
from model.checkpoint.foreign import PREFIX, REASON

from .architectures import CLASSES
from .chat.mode import choose_tokenizer_mode

logger = logging.getLogger("internvl3.plugin")

# The ways of guessing tokens ahead that need no second model.
_WITHOUT_DRAFT_MODEL = ("ngram", "ngram_gpu", "suffix", "custom_class")


def register_engine_config() -> None:
    """Enter our classes into vLLM's tables; a second call changes nothing."""
    for config in (InternVLConfig, InternVLChatConfig):
        MODEL_ARCH_CONFIG_CONVERTORS[config.model_type] = WindowConvertor
    for architecture in CLASSES:
        MODELS_CONFIG_MAP[architecture] = InternVLEngineConfig
        MODELS_CONFIG_MAP[PREFIX + architecture] = ForeignEngineConfig


class WindowConvertor(ModelArchConfigConvertorBase):
    """The length of a context if `--max-model-len` is absent: the window that the checkpoint was trained on.

    With a small delta more tokens than that fit into the window. So `--max-model-len` may be larger, up to
    the config's `model_max_length`.
    """

    def derive_max_model_len_and_key(self) -> tuple[float, str | None]:
        if isinstance(self.hf_config, InternVLConfig):
            return self.hf_text_config.max_position_embeddings, "max_position_embeddings"
        return super().derive_max_model_len_and_key()


class InternVLEngineConfig(VerifyAndUpdateConfig):
    """What vLLM has to know and to refuse for an engine with our model."""

    @staticmethod
    def verify_and_update_model_config(model_config: ModelConfig) -> None:
        """Choose our tokenizer mode, and let answers also stop at the token that ends a turn.

        Most published files don't name that token.
        vLLM takes the stop tokens from the tokenizer and from `generation_config.json`. InternVL3's
        `generation_config.json` names none, and InternLM's tokenizers name another token. The tokenizer's
        files are those that the engine's arguments name, in their revision and with their access token.
        """
        choose_tokenizer_mode(model_config)
        stop = end_of_turn(
            str(model_config.tokenizer),
            revision=model_config.tokenizer_revision,
            token=model_config.hf_token,
        )
        if stop is not None:
            own = model_config.try_get_generation_config
            model_config.try_get_generation_config = partial(_with_stop, own, stop)

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Raise ValueError for a draft model, which can't take V2PE's positions."""
        speculation = vllm_config.speculative_config
        if speculation is not None and speculation.method not in _WITHOUT_DRAFT_MODEL:
            raise ValueError(
                f"--speculative-config: the method {speculation.method!r} needs a draft model, and V2PE's "
                'positions can\'t be passed to one. Use the method "ngram" or "suffix"'
            )


class ForeignEngineConfig(VerifyAndUpdateConfig):
    """What the operator has to know of an engine with vLLM's own class."""

    @staticmethod
    def verify_and_update_model_config(model_config: ModelConfig) -> None:
        """Write one line to the log: the model is served without V2PE, and why."""
        logger.warning(
            "vLLM's own InternVL class serves %s, without V2PE: %s",
            model_config.model,
            getattr(model_config.hf_config, REASON, "its config names that class"),
        )


def _with_stop(generation_config: Any, stop: int) -> dict[str, Any]:
    """Return what `generation_config` returns, with `stop` among the stop tokens."""
    content: dict[str, Any] = generation_config()
    named = content.get("eos_token_id") or []
    named = [named] if isinstance(named, int) else named
    return content | {"eos_token_id": sorted({*named, stop})}
