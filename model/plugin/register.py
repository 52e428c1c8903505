"""The `vllm.general_plugins` entry point, and the check that it took effect.

vLLM loads plugins in every one of its processes and merely logs one that fails; it would then serve its own
InternVL, without V2PE. So whoever starts an engine calls `require_plugin` first.
"""

from vllm import ModelRegistry
from vllm.plugins import load_general_plugins

from .architectures import CLASSES


class PluginError(RuntimeError):
    """vLLM wouldn't serve InternVL with this project's model."""


def register() -> None:
    """Puts our model and config classes in the place of vLLM's and transformers', and adds the tokenizers
    and the critic that these have no class for. Repeating is harmless.
    """
    from transformers import AutoConfig

    from model.checkpoint.config import InternVLChatConfig, InternVLConfig
    from model.checkpoint.internlm_tokenizer import register_tokenizers

    register_tokenizers()
    AutoConfig.register(InternVLChatConfig.model_type, InternVLChatConfig, exist_ok=True)
    AutoConfig.register(InternVLConfig.model_type, InternVLConfig, exist_ok=True)
    for architecture, place in CLASSES.items():
        # By name: the module must not be imported (and CUDA not be touched) before the engine's process needs
        # it.
        ModelRegistry.register_model(architecture, ":".join(place))


def require_plugin() -> None:
    """Loads vLLM's plugins and makes sure that ours is among them.

    Raises:
        PluginError: vLLM would serve InternVL with another class; one line, with what to do about it.
    """
    load_general_plugins()
    for architecture, place in CLASSES.items():
        entry = ModelRegistry.models.get(architecture)
        if (getattr(entry, "module_name", None), getattr(entry, "class_name", None)) != place:
            raise PluginError(
                f"vLLM would serve {architecture} without our model: its plugin internvl3 is inactive. "
                "Install internvl3-serving in this environment; if VLLM_PLUGINS is set, name internvl3 in it"
            )
