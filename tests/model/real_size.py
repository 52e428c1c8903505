"""Build a checkpoint with the dimensions, names and tokenizer of a published size, and random weights."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.model.size_tensors import tensors
from tests.model.sizes import Layout, Size, config_json


def build_real_size(
    directory: Path, size: Size, layout: Layout, tokenizer_files: Path, *, seed: int = 0
) -> Path:
    """Write the checkpoint with weights in bfloat16, and return the directory.

    The same seed gives the same model only within a layout.
    """
    shutil.copytree(tokenizer_files, directory, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    weights = {name: random_tensor(name, shape, generator) for name, shape in tensors(size, layout).items()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config_json(size, layout), indent=2))
    # The published file names no eos, and the published config a wrong one.
    (directory / "generation_config.json").write_text(json.dumps({"_from_model_config": True}))
    return directory


def random_tensor(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Return noise of a size at which the values of 24 layers neither vanish nor explode."""
    if name.endswith((".ls1", ".ls2", ".lambda_1", ".lambda_2")):
        return torch.full(shape, 0.1, dtype=torch.bfloat16)
    if len(shape) == 1 and name.endswith("weight"):  # It is the weight of a norm.
        return torch.ones(shape, dtype=torch.bfloat16)
    # Large queries and keys make attention, and with it the answer, depend on the positions.
    scale = 0.06 if "language_model" in name and name.endswith(("q_proj.weight", "k_proj.weight")) else 0.02
    return (scale * torch.randn(shape, generator=generator)).to(torch.bfloat16)
