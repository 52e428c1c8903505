"""What a checkpoint says about itself, read from either layout into one shape.

The engine wants transformers config objects: `InternVLConfig` and `InternVLChatConfig` below, the second of
which reads OpenGVLab's `config.json` by its own names, so no code from the checkpoint is ever run. Everything
else of ours asks `Checkpoint`.
"""

from typing import Any, Self

import transformers

from .backbones import head_dim, language_config, require_language_model
from .config_layouts import config_to_transformers
from .end_of_turn import end_of_turn

# Longest context that the engine may be asked for, in tokens. The window counts positions, not tokens: with a
# small delta a prompt of a million tokens can stay within it (V2PE, arXiv 2412.09616).
_MAX_CONTEXT = 2**20


class InternVLConfig(transformers.InternVLConfig):
    """transformers' config, prepared for V2PE in the engine. Its auto classes look the name up, so it stays.

    Raises ValueError for a language model or a rotary scaling that isn't supported.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        text = self.text_config
        require_language_model(text)
        # Whether the output head is tied is decided by what the checkpoint holds: see
        # `InternVLModel.load_weights`.
        text.tie_word_embeddings = False
        text.model_max_length = _MAX_CONTEXT
        # Tells the engine to carry three rows of positions; it isn't put into rope_parameters, which would
        # make the engine build its own M-RoPE. The numbers are read by nobody.
        self.mrope_section = [head_dim(text) // 2, 0, 0]

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """As transformers' own, with the end of a turn in the place of the eos that published configs hold.

        The tokenizer in `name_or_path` knows it; auto classes and vLLM pass that folder or hub name on. The
        engine asks the config only where a checkpoint has no `generation_config.json`.
        """
        text = config_dict.get("text_config")
        if isinstance(text, dict):
            config_dict = config_dict | {"text_config": language_config(text)}
        stop = end_of_turn(kwargs["name_or_path"]) if kwargs.get("name_or_path") else None
        if stop is not None:
            config_dict = config_dict | {"eos_token_id": stop}
        return super().from_dict(config_dict, **kwargs)


class InternVLChatConfig(InternVLConfig):
    """OpenGVLab's `config.json`, under transformers' names. Keys that those lack are kept as attributes."""

    model_type = "internvl_chat"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        if "llm_config" in config_dict:
            theirs = {
                k: v for k, v in config_dict.items() if k not in ("llm_config", "vision_config", "auto_map")
            }
            # The id of the context token is the tokenizer's to know; nothing reads it from here.
            config_dict = theirs | config_to_transformers(config_dict, image_token_id=0)
        return super().from_dict(config_dict, **kwargs)
