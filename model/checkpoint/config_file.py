"""What a checkpoint folder says about itself, for training."""

import json
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from model.config import Checkpoint, InternVLChatConfig, InternVLConfig, read_checkpoint
from model.layouts import config_to_transformers

from .kinds import Layout

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def layout_of(checkpoint: Path) -> Layout:
    """The layout of a checkpoint's `config.json`. Raises OSError where there is none."""
    content = json.loads((checkpoint / "config.json").read_text())
    return "opengvlab" if "llm_config" in content else "transformers"


def described(checkpoint: Path) -> Checkpoint:
    """Tiling, tokens of a tile, system message and so on, as the server reads them.

    Raises:
        ValueError: a value that the model can't be built with.
        OSError: there is no `config.json`.
    """
    content = json.loads((checkpoint / "config.json").read_text())
    kind = InternVLChatConfig if "llm_config" in content else InternVLConfig
    settings = checkpoint / "preprocessor_config.json"
    image_processor = json.loads(settings.read_text()) if settings.exists() else {}
    return read_checkpoint(kind.from_dict(content), image_processor)


def model_config(checkpoint: Path) -> transformers.InternVLConfig:
    """transformers' config of the model, from `config.json` alone. Raises as `described`."""
    content = json.loads((checkpoint / "config.json").read_text())
    if "llm_config" in content:
        content = config_to_transformers(content, image_token_id=0)  # no size depends on it
    return transformers.InternVLConfig(**content)


def weights_dtype(checkpoint: Path) -> torch.dtype:
    """The type of a checkpoint's weights, told by its first tensor of floating-point numbers.

    Raises:
        ValueError: there is none.
    """
    for shard in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                dtype = _DTYPES.get(file.get_slice(name).get_dtype())
                if dtype is not None:
                    return dtype
    raise ValueError(f"{checkpoint} has no weights in safetensors files: convert it first")
