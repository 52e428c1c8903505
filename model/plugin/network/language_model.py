"""Build the language model of InternVL from vLLM's classes.

vLLM compiles a model with a declaration of which dimension of each input grows with the number of tokens.
Qwen's models declare positions in three rows (3, T). Llama declares (T,), so the 3 would count as the number
of tokens.
"""

from typing import Any

from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import VllmConfig
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models.llama import LlamaForCausalLM, LlamaModel


def build_language_model(vllm_config: VllmConfig, text_config: Any, prefix: str) -> nn.Module:
    """Return vLLM's model for a language model's config, without weights, with modules called `prefix`.*."""
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
    """vLLM's Llama with `LlamaBody`."""

    def _init_model(self, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> LlamaModel:
        return LlamaBody(vllm_config=vllm_config, prefix=prefix, **kwargs)
