"""The language model inside InternVL, of vLLM's own classes.

vLLM compiles each of its models with a note on which dimension of its inputs grows with the number of tokens.
Qwen's models expect positions in three rows (3, T); Llama's expects (T,), and would take the three for T.
"""

from typing import Any

from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import VllmConfig
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models.llama import LlamaForCausalLM, LlamaModel


def build_language_model(vllm_config: VllmConfig, text_config: Any, prefix: str) -> nn.Module:
    """vLLM's model for a language model's config, its weights unset; its modules are called `prefix`.*."""
    return initialize_model(
        vllm_config=vllm_config.with_hf_config(text_config),
        prefix=prefix,
        model_class=Llama if text_config.model_type == "llama" else None,
    )


@support_torch_compile(
    dynamic_arg_dims={
        "input_ids": 0,
        "positions": -1,
        "intermediate_tensors": 0,
        "inputs_embeds": 0,
    }
)
class LlamaBody(LlamaModel):
    """vLLM's Llama without its output head, compiled for three rows of positions."""


class Llama(LlamaForCausalLM):
    """vLLM's Llama with that body."""

    def _init_model(self, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> LlamaModel:
        return LlamaBody(vllm_config=vllm_config, prefix=prefix, **kwargs)
