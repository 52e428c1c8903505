"""Configs of InternVL checkpoints for which V2PE isn't available, as vLLM's own class reads them.

vLLM chooses a model's class by the architecture that a config names. So these configs name it with a prefix,
and the plugin keeps vLLM's class under that name (docs/decisions/0039).
"""

from collections.abc import Mapping
from typing import Any

import transformers

from .backbones import language_config
from .config_layouts import CHAT_DEFAULTS, VISION_DEFAULTS

PREFIX = "Vllm"
"""What stands before the name of an architecture that vLLM's own class serves."""

REASON = "without_v2pe"
"""The attribute of a config that says why V2PE isn't available. Configs with V2PE don't have it."""


class ForeignChatConfig(transformers.PreTrainedConfig):
    """OpenGVLab's `config.json` as its published class holds it; no code of the checkpoint is run."""

    model_type = "internvl_chat"


def foreign_config(content: Mapping[str, Any], reason: str, **kwargs: Any) -> Any:
    """Return the config of a checkpoint in either layout, with `reason` as an attribute.

    Args:
        content: `config.json`.
        reason: why V2PE isn't available.
        kwargs: what transformers' auto classes pass to `from_dict`.

    Raises as `language_config` does.
    """
    named = [f"{PREFIX}{architecture}" for architecture in content.get("architectures") or ()]
    changed = {"architectures": named, REASON: reason}
    if "llm_config" not in content:
        return transformers.InternVLConfig.from_dict({**content, **changed}, **kwargs)
    text = language_config(content["llm_config"])
    changed |= {
        "vision_config": transformers.PreTrainedConfig(**VISION_DEFAULTS | content["vision_config"]),
        "text_config": transformers.AutoConfig.for_model(**text),
    }
    others = {k: v for k, v in content.items() if k not in ("llm_config", "auto_map", "model_type")}
    return ForeignChatConfig.from_dict({**CHAT_DEFAULTS, **others, **changed}, **kwargs)
