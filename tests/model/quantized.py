"""Turns a tiny checkpoint into a quantised one, as the tools that publish such checkpoints write them.

Scales are powers of two, so that the weights of all forms, and those that come back from them, are exact in
bfloat16: an engine on the quantised checkpoint computes what one on `dequantized` does.
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
    """4-bit values (N, K) from -8 to 7, and the power of two (N, K / GROUP) that each group is scaled by."""
    groups_NGK = weight_NK.unflatten(1, (-1, GROUP))
    scale_NG = torch.exp2((groups_NGK.abs().amax(-1) / 7).log2().round())
    values_NGK = (groups_NGK / scale_NG[..., None]).round().clamp(-8, 7)
    return values_NGK.flatten(1).to(torch.int32), scale_NG


def dequantized(weight_NK: torch.Tensor) -> Tensors:
    values_NK, scale_NG = rounded(weight_NK)
    return {"weight": values_NK * scale_NG.repeat_interleave(GROUP, dim=1)}


def awq(weight_NK: torch.Tensor) -> Tensors:
    """AutoAWQ's `gemm` form: transposed, eight outputs in an int32 in an order of their own."""
    values_NK, scale_NG = rounded(weight_NK)
    zeros_GN = torch.full(scale_NG.T.shape, 8, dtype=torch.int32)
    return {
        "qweight": _packed(values_NK.T + 8, _AWQ_ORDER),
        "qzeros": _packed(zeros_GN, _AWQ_ORDER),
        "scales": scale_NG.T.to(torch.bfloat16),
    }


def compressed(weight_NK: torch.Tensor) -> Tensors:
    """compressed-tensors' `pack-quantized` form: eight inputs in an int32."""
    values_NK, scale_NG = rounded(weight_NK)
    return {
        "weight_packed": _packed(values_NK + 8, list(range(8))),
        "weight_scale": scale_NG.to(torch.bfloat16),
        "weight_shape": torch.tensor(weight_NK.shape),
    }


def gptq(weight_NK: torch.Tensor) -> Tensors:
    """AutoGPTQ's form: transposed, eight inputs in an int32, zeros stored one less."""
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
    whole: Any = None,
    language: Any = None,
) -> Path:
    """Copies a checkpoint with its language model's linear layers in another form; returns the copy.

    `whole` and `language` become the `quantization_config` at the top of config.json and in its `llm_config`.
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
    if whole:
        config["quantization_config"] = whole
    if language:
        config["llm_config"]["quantization_config"] = language
    write_json(target / "config.json", config)
    return target


def _packed(values: torch.Tensor, order: list[int]) -> torch.Tensor:
    eights = values.unflatten(-1, (-1, 8))[..., order].to(torch.int64)
    shifts = torch.arange(0, 32, 4)
    joined = (eights << shifts).sum(-1)
    return torch.where(joined >= 2**31, joined - 2**32, joined).to(torch.int32)
