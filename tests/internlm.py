"""Convert a Llama's config and tensors to the form in which InternLM2 and InternLM3 are published.

This is the inverse of our loader, written from OpenGVLab/InternVL `modeling_internlm2.py`. It doesn't use our
model package.
"""

from typing import Any

import torch

_RENAMED = {
    "model.embed_tokens": "model.tok_embeddings",
    "lm_head": "output",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OF_LLAMA = ("attention_bias", "mlp_bias", "head_dim", "pretraining_tp")


def internlm2_config(llama: dict[str, Any]) -> dict[str, Any]:
    """Return `llm_config` as InternVL2.5 publishes it, with dynamic rotary scaling."""
    return {key: value for key, value in llama.items() if key not in _OF_LLAMA} | {
        "architectures": ["InternLM2ForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"},
        "attn_implementation": "eager",
        "bias": False,
        "model_type": "internlm2",
        "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    }


def internlm3_config(llama: dict[str, Any]) -> dict[str, Any]:
    """Return `llm_config` with InternLM3's keys."""
    return {key: value for key, value in llama.items() if key not in _OF_LLAMA} | {
        "architectures": ["InternLM3ForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_internlm3.InternLM3Config"},
        "bias": False,
        "head_dim": llama["hidden_size"] // llama["num_attention_heads"],
        "model_type": "internlm3",
        "qkv_bias": False,
        "rope_scaling": {"factor": 6.0, "rope_type": "dynamic"},
    }


def internlm2_state(state: dict[str, torch.Tensor], num_kv_heads: int) -> dict[str, torch.Tensor]:
    """Return the tensors under InternLM2's names.

    q, k and v are joined to `wqkv`: for each kv head its queries, its k and its v.
    """
    result = {}
    for name, tensor in state.items():
        if name.startswith("language_model.") and ".q_proj." in name:
            q, k, v = (state[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv")
            rows = []
            for head in range(num_kv_heads):
                rows += [part.chunk(num_kv_heads)[head] for part in (q, k, v)]
            result[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat(rows)
        elif not (name.startswith("language_model.") and (".k_proj." in name or ".v_proj." in name)):
            result[_renamed(name)] = tensor
    return result


def _renamed(name: str) -> str:
    if name.startswith("language_model."):
        for llama, internlm2 in _RENAMED.items():
            name = name.replace(f".{llama}.", f".{internlm2}.")
    return name
