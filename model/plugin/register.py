"""Register our model with vLLM, and check that vLLM uses it.

vLLM loads its plugins in each of its processes and only logs the failure of a plugin. It would then serve its
own InternVL, without V2PE. So code that starts an engine calls `require_plugin` first.
"""

from vllm import ModelRegistry
from vllm.plugins import load_general_plugins

from model.checkpoint.foreign import PREFIX
from model.end_with_parent import end_with_parent

from .architectures import CLASSES
from .grammars import use_backend_of_each_request


class PluginError(RuntimeError):
    """The error for an engine that would serve InternVL without this project's model."""


def register() -> None:
    """Replace vLLM's and transformers' InternVL classes with ours; a second call changes nothing.

    The model and config classes are replaced. vLLM's own model classes stay available under a longer name,
    for checkpoints whose language model isn't ours. InternLM's tokenizers and the critic are added, because
    vLLM and transformers have no class for them, and so is the tokenizer mode of `model/plugin/chat`. Engines
    that ask for it compile grammars in our way. A process that was started for an engine ends with the one
    that has started it.
    """
    from transformers import AutoConfig
    from vllm.v1.structured_output import StructuredOutputManager

    from model.checkpoint.config import InternVLChatConfig, InternVLConfig
    from model.checkpoint.internlm_tokenizer import register_tokenizers
    from model.checkpoint.regex_warning import drop_regex_warning
    from model.plugin.chat.mode import register_mode

    from .engine_config import register_engine_config

    end_with_parent()
    register_tokenizers()
    drop_regex_warning()
    use_backend_of_each_request(StructuredOutputManager)
    register_mode()
    AutoConfig.register(InternVLChatConfig.model_type, InternVLChatConfig, exist_ok=True)
    AutoConfig.register(InternVLConfig.model_type, InternVLConfig, exist_ok=True)
    for architecture, module_and_class in CLASSES.items():
        entry = ModelRegistry.models.get(architecture)
        if entry is not None and not _is_ours(architecture):
            ModelRegistry.models[PREFIX + architecture] = entry
        # The class is registered by its name, because the module must not be imported, and CUDA not be
        # touched, before the engine's process needs it.
        ModelRegistry.register_model(architecture, ":".join(module_and_class))
    register_engine_config()


def require_plugin() -> None:
    """Load vLLM's plugins, and raise PluginError unless ours is active.

    Raises:
        PluginError: vLLM would serve InternVL with another class; the message is one line and says what to
        do.
    """
    load_general_plugins()
    for architecture in CLASSES:
        if not _is_ours(architecture):
            raise PluginError(
                f"vLLM would serve {architecture} without our model, because the plugin internvl3 is "
                "inactive. Install internvl3-serving in this environment; if VLLM_PLUGINS is set, add "
                "internvl3 to it"
            )


def _is_ours(architecture: str) -> bool:
    entry = ModelRegistry.models.get(architecture)
    return (getattr(entry, "module_name", None), getattr(entry, "class_name", None)) == CLASSES[architecture]
