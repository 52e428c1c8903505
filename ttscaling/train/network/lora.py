"""LoRA adapters on the language model: put in for training, and merged or taken out afterwards.

peft's layers replace all linear layers of the language model, so positions, segments and the vision tower
stay as they are. All other weights are frozen. Source: OpenGVLab/InternVL `wrap_llm_lora`, whose alpha is
twice the rank.
"""

from collections.abc import Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from ttscaling.train.settings.recipe import Recipe

from .internvl import V2PEInternVL

_NAME = "default"  # peft's name of the adapter, which is a part of the names of its tensors
_A, _B, _BASE = f".lora_A.{_NAME}.weight", f".lora_B.{_NAME}.weight", ".base_layer."


def lora_config(model: V2PEInternVL, recipe: Recipe) -> LoraConfig:
    """Return peft's config of the recipe's adapters. Raises ValueError if the recipe has none."""
    if recipe.lora_rank is None or recipe.lora_scale is None:
        raise ValueError("the recipe has no LoRA adapters: set lora_rank")
    alpha = recipe.lora_scale * recipe.lora_rank
    kinds = sorted({name.rpartition(".")[2] for name, _ in _linear_layers(model)})
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # type: ignore[arg-type] # peft divides it
        # The vision tower of transformers' layout has layers of the same names.
        target_modules=rf".*language_model\..*\.({'|'.join(kinds)})",
        bias="none",
    )


def add_adapters(model: V2PEInternVL, recipe: Recipe) -> None:
    """Put adapters on the linear layers of the language model, in place, and freeze all other weights.

    The model computes the same as before until the first step. The adapters are float32, also where the
    frozen weights aren't.
    """
    inject_adapter_in_model(lora_config(model, recipe), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merged(state: Mapping[str, torch.Tensor], recipe: Recipe) -> dict[str, torch.Tensor]:
    """Return the tensors of a model with adapters as those of a model without, W + alpha / rank * B A.

    The merged weights are float32, so that an export rounds them once.
    """
    weights = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        if name.endswith(f"{_BASE}weight"):
            module = name.removesuffix(f"{_BASE}weight")
            down_RI, up_OR = state[module + _A].float(), state[module + _B].float()
            tensor = tensor.float() + (recipe.lora_scale or 0.0) * (up_OR @ down_RI)
        weights[name.replace(_BASE, ".")] = tensor
    return weights


def adapter_tensors(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the adapters' tensors alone, named `model.language_model.layers.0. .. .lora_A.weight`."""
    return {
        name.replace(f".{_NAME}.weight", ".weight"): tensor
        for name, tensor in state.items()
        if name.endswith((_A, _B))
    }


def adapter_size(model: V2PEInternVL, rank: int) -> int:
    """Return the number of weights of adapters of a rank."""
    return sum(rank * (layer.in_features + layer.out_features) for _, layer in _linear_layers(model))


def _linear_layers(model: V2PEInternVL) -> list[tuple[str, nn.Linear]]:
    """Return the layers that adapters belong to by name, also where they have adapters already."""
    return [
        (name.removesuffix(_BASE.rstrip(".")), module)
        for name, module in model.model.language_model.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name
    ]
