"""transformers' config classes for the two layouts of InternVL checkpoints.

The engine needs transformers config objects. `InternVLConfig` reads transformers' layout.
`InternVLChatConfig` reads OpenGVLab's `config.json` under the names of that layout, so no code from the
checkpoint is ever run. The rest of this project reads `model.checkpoint.description.Checkpoint`.
"""

from typing import Any, Self

import transformers

from .backbones import UnsupportedLanguageModel, head_dim, language_config, require_language_model
from .config_layouts import CHAT_DEFAULTS, config_to_transformers
from .foreign import foreign_config

# The longest context that the engine accepts, in tokens. The window counts positions, not tokens: with a
# small delta a prompt of a million tokens can stay within the window (V2PE, arXiv 2412.09616).
_MAX_CONTEXT = 2**20


class InternVLConfig(transformers.InternVLConfig):
    """transformers' InternVL config, prepared for V2PE in the engine.

    transformers' auto classes find it by its class name, so the name must stay. Raises ValueError if the
    language model or its rotary scaling isn't supported.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        text = self.text_config
        require_language_model(text)
        # `InternVLModel.load_weights` ties the output head where the checkpoint holds none.
        text.tie_word_embeddings = False
        text.model_max_length = _MAX_CONTEXT
        # This attribute makes the engine carry three rows of positions. It isn't put into rope_parameters,
        # because the engine would then build its own M-RoPE. Nothing reads the numbers.
        self.mrope_section = [head_dim(text) // 2, 0, 0]

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Return the config of `config.json`; InternLM becomes a Llama.

        If V2PE isn't available for the language model, the config is one for vLLM's own class
        (`model.checkpoint.foreign`).
        """
        try:
            return super().from_dict(cls._translated(config_dict), **kwargs)
        except UnsupportedLanguageModel as error:
            foreign: Self = foreign_config(config_dict, str(error), **kwargs)
            return foreign

    @classmethod
    def _translated(cls, config_dict: dict[str, Any]) -> dict[str, Any]:
        text = config_dict.get("text_config")
        return config_dict | {"text_config": language_config(text)} if isinstance(text, dict) else config_dict


class InternVLChatConfig(InternVLConfig):
    """OpenGVLab's `config.json` under transformers' names; other keys are kept as attributes.

    An absent key has the default of the published config class (`CHAT_DEFAULTS`), not that of InternVL3.
    """

    model_type = "internvl_chat"

    @classmethod
    def _translated(cls, config_dict: dict[str, Any]) -> dict[str, Any]:
        if "llm_config" not in config_dict:
            return super()._translated(config_dict)
        other_keys = {
            k: v for k, v in config_dict.items() if k not in ("llm_config", "vision_config", "auto_map")
        }
        # Only the tokenizer knows the id of the context token; nothing reads it from the config.
        return CHAT_DEFAULTS | other_keys | config_to_transformers(config_dict, image_token_id=0)
