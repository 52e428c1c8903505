"""The delta that a checkpoint was tuned for: the key `v2pe_delta` of its config.json.

The server takes it where a request names none (`model.config.Checkpoint.v2pe_delta`).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .asking import EvaluationError

KEY = "v2pe_delta"


def read_delta(folder: Path) -> float:
    """A checkpoint's own delta, 1 where it says nothing. Raises EvaluationError where there is no config."""
    return float(_config(folder).get(KEY, 1.0))


def write_delta(folder: Path, delta: float) -> Path:
    """Make it the checkpoint's own; the other keys stay as they are. Returns the file.

    The file is replaced, not written into: in a hub cache it is a link to a file that others share. Raises
    EvaluationError.
    """
    path = folder / "config.json"
    changed = json.dumps({**_config(folder), KEY: delta}, indent=2, ensure_ascii=False) + "\n"
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(changed, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise EvaluationError(f"{path} can't be written: {error}") from error
    return path


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{path} can't be read ({error}): --policy must be a checkpoint's folder"
        ) from error
    if not isinstance(config, dict):
        raise EvaluationError(f"{path} holds no JSON object: it is no checkpoint's config")
    return config
