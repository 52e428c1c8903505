"""Read `config.json` and the other settings of a checkpoint folder, and write its delta."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import transformers

from .config import InternVLChatConfig, InternVLConfig
from .config_layouts import config_to_transformers
from .description import Checkpoint, read_checkpoint

Layout = Literal["opengvlab", "transformers"]
_DELTA_KEY = "v2pe_delta"


def layout_of(checkpoint: Path) -> Layout:
    """Return the layout of a checkpoint's `config.json`. Raises OSError if there is no such file."""
    content = json.loads((checkpoint / "config.json").read_text())
    return "opengvlab" if "llm_config" in content else "transformers"


def described(checkpoint: Path) -> Checkpoint:
    """Return the description of a checkpoint (tiling, system message and so on), as the server reads it.

    Raises:
        ValueError: the model can't be built with one of the values.
        OSError: there is no `config.json`.
    """
    content = json.loads((checkpoint / "config.json").read_text())
    kind = InternVLChatConfig if "llm_config" in content else InternVLConfig
    settings = checkpoint / "preprocessor_config.json"
    image_processor = json.loads(settings.read_text()) if settings.exists() else {}
    return read_checkpoint(kind.from_dict(content), image_processor)


def model_config(checkpoint: Path) -> transformers.InternVLConfig:
    """Return transformers' config of the model, from `config.json` alone. Raises as `described` does."""
    content = json.loads((checkpoint / "config.json").read_text())
    if "llm_config" in content:
        content = config_to_transformers(content, image_token_id=0)  # No tensor's size depends on the id.
    return transformers.InternVLConfig(**content)


def read_delta(folder: Path) -> float:
    """Return the delta that the checkpoint names, or 1. Raises ValueError if `config.json` can't be read."""
    return float(_config(folder).get(_DELTA_KEY, 1.0))


def write_delta(folder: Path, delta: float) -> Path:
    """Write the delta into a checkpoint's `config.json`, leave its other keys alone, and return the path.

    The file is replaced, because in a hub cache it is a link to a file that other checkpoints may share.

    Raises:
        ValueError: `config.json` can't be read or written.
    """
    path = folder / "config.json"
    changed = json.dumps({**_config(folder), _DELTA_KEY: delta}, indent=2, ensure_ascii=False) + "\n"
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(changed, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise ValueError(
            f"{path} can't be written ({error}): make the folder writable, or use a copy of it"
        ) from error
    return path


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read ({error}): --policy must be a checkpoint's folder") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no JSON object: --policy must be a checkpoint's folder")
    return config
