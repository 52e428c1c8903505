"""What a checkpoint folder says about itself, for training."""

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


KEY = "v2pe_delta"


def read_delta(folder: Path) -> float:
    """A checkpoint's own delta, 1 where it says nothing. Raises ValueError where there is no config."""
    return float(_config(folder).get(KEY, 1.0))


def write_delta(folder: Path, delta: float) -> Path:
    """Make it the checkpoint's own; the other keys stay as they are. Returns the file.

    The file is replaced, not written into: in a hub cache it is a link to a file that others share. Raises
    ValueError.
    """
    path = folder / "config.json"
    changed = json.dumps({**_config(folder), KEY: delta}, indent=2, ensure_ascii=False) + "\n"
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(changed, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error}") from error
    return path


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read ({error}): --policy must be a checkpoint's folder") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no JSON object: it is no checkpoint's config")
    return config
