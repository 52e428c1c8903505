"""Write random LoRA adapters in peft's format, for tests that need one."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints import write_json

RANK, ALPHA = 8, 16
Changes = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # A and B by module, like layers.0.mlp.up_proj


def random_changes(state: Mapping[str, torch.Tensor], *, seed: int) -> Changes:
    """Return random matrices for each linear layer of the language model, given OpenGVLab's tensors."""
    generator = torch.Generator().manual_seed(seed)
    changes = {}
    for name, weight in state.items():
        if name.startswith("language_model.") and name.endswith("_proj.weight"):
            down = torch.randn(RANK, weight.shape[1], generator=generator) * 0.2
            up = torch.randn(weight.shape[0], RANK, generator=generator) * 0.2
            changes[name.removeprefix("language_model.model.").removesuffix(".weight")] = down, up
    return changes


def write_adapter(folder: Path, prefix: str, changes: Changes) -> Path:
    """Write an adapter whose tensors have names that begin with `prefix`, and return its folder."""
    folder.mkdir()
    tensors = {}
    for module, (down, up) in changes.items():
        tensors[f"{prefix}.{module}.lora_A.weight"] = down
        tensors[f"{prefix}.{module}.lora_B.weight"] = up
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({module.rpartition(".")[2] for module in changes})
    write_json(
        folder / "adapter_config.json",
        {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": targets, "bias": "none"},
    )
    return folder


def random_adapter(folder: Path, checkpoint: Path, *, seed: int) -> Path:
    """Write a random adapter of a checkpoint in OpenGVLab's layout, and return its folder."""
    changes = random_changes(load_file(checkpoint / "model.safetensors"), seed=seed)
    return write_adapter(folder, "base_model.model.language_model.model", changes)
