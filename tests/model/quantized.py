"""Quantise a tiny checkpoint, in the forms of the tools that publish quantised checkpoints.

Scales are powers of two, so that quantised and dequantised weights are exact in bfloat16. So an engine with a
quantised checkpoint computes the same as an engine with the `dequantized` one.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.checkpoints import save_weights, write_json

GROUP = 32
_AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
Tensors = dict[str, torch.Tensor]


def rounded(weight_NK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 4-bit values (N, K) from -8 to 7, and the scale of each group (N, K / GROUP), a power of two."""
    groups_NGK = weight_NK.unflatten(1, (-1, GROUP))
    scale_NG = torch.exp2((groups_NGK.abs().amax(-1) / 7).log2().round())
    values_NGK = (groups_NGK / scale_NG[..., None]).round().clamp(-8, 7)
    return values_NGK.flatten(1).to(torch.int32), scale_NG


def dequantized(weight_NK: torch.Tensor) -> Tensors:
    values_NK, scale_NG = rounded(weight_NK)
    return {"weight": values_NK * scale_NG.repeat_interleave(GROUP, dim=1)}


def awq(weight_NK: torch.Tensor) -> Tensors:
    """Return AutoAWQ's `gemm` form: transposed, with eight outputs in an int32 in AutoAWQ's order."""
    values_NK, scale_NG = rounded(weight_NK)
    zeros_GN = torch.full(scale_NG.T.shape, 8, dtype=torch.int32)
    return {
        "qweight": _packed(values_NK.T + 8, _AWQ_ORDER),
        "qzeros": _packed(zeros_GN, _AWQ_ORDER),
        "scales": scale_NG.T.to(torch.bfloat16),
    }


def compressed(weight_NK: torch.Tensor) -> Tensors:
    """Return compressed-tensors' `pack-quantized` form, with eight inputs in an int32."""
    values_NK, scale_NG = rounded(weight_NK)
    return {
        "weight_packed": _packed(values_NK + 8, list(range(8))),
        "weight_scale": scale_NG.to(torch.bfloat16),
        "weight_shape": torch.tensor(weight_NK.shape),
    }


def gptq(weight_NK: torch.Tensor) -> Tensors:
    """Return AutoGPTQ's form: transposed, with eight inputs in an int32, and zeros stored as one less."""
    values_NK, scale_NG = rounded(weight_NK)
    zeros_GN = torch.full(scale_NG.T.shape, 7, dtype=torch.int32)
    return {
        "qweight": _packed(values_NK + 8, list(range(8))).T,
        "qzeros": _packed(zeros_GN, list(range(8))),
        "scales": scale_NG.T.to(torch.bfloat16),
        "g_idx": torch.arange(weight_NK.shape[1], dtype=torch.int32) // GROUP,
    }


def quantize(
    source: Path,
    target: Path,
    form: Callable[[torch.Tensor], Tensors],
    *,
    top: Any = None,
    language: Any = None,
) -> Path:
    """Copy a checkpoint with the language model's linear layers in another form, and return the copy.

    `top` and `language` become the `quantization_config` at the top of config.json and in its `llm_config`.
    """
    shutil.copytree(source, target)
    state: Tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        module, _, kind = name.rpartition(".")
        if module.endswith("_proj") and module.startswith("language_model.") and kind == "weight":
            state |= {f"{module}.{part}": piece for part, piece in form(tensor).items()}
        else:
            state[name] = tensor
    save_weights(target, state)
    config = json.loads((source / "config.json").read_text())
    if top:
        config["quantization_config"] = top
    if language:
        config["llm_config"]["quantization_config"] = language
    write_json(target / "config.json", config)
    return target


def _packed(values: torch.Tensor, order: list[int]) -> torch.Tensor:
    eights = values.unflatten(-1, (-1, 8))[..., order].to(torch.int64)
    shifts = torch.arange(0, 32, 4)
    joined = (eights << shifts).sum(-1)
    return torch.where(joined >= 2**31, joined - 2**32, joined).to(torch.int32)
