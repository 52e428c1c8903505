"""Refuses an incomplete checkpoint before an engine is started on it.

The engine refuses it too (`InternVLModel.load_weights`), but half a minute later, from a child process and
behind pages of traceback.
"""

import json
from pathlib import Path

from safetensors import safe_open

from .config import InternVLChatConfig, InternVLConfig
from .quantization import missing_from

_MOST_NAMES = 8


def require_tensors(directory: Path) -> None:
    """Checks that a checkpoint's safetensors files hold every tensor; reads their headers only.

    A checkpoint in another file format is left to the engine's own check.

    Raises:
        ValueError: tensors are missing; one line that names them, or the first few of many.
        FileNotFoundError: there is no `config.json`.
    """
    config = json.loads((directory / "config.json").read_text())
    names = [name for path in sorted(directory.glob("*.safetensors")) for name in _tensor_names(path)]
    if not names:
        return
    kind = InternVLChatConfig if "llm_config" in config else InternVLConfig
    missing = missing_from(kind.from_pretrained(directory), names)
    if missing:
        shown = ", ".join(missing[:_MOST_NAMES])
        more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
        raise ValueError(f"the checkpoint in {directory} lacks {shown}{more}")


def _tensor_names(path: Path) -> list[str]:
    with safe_open(path, framework="numpy") as file:
        return list(file.keys())
