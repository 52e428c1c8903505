"""Open the weights of a checkpoint, and check all its files before a run begins."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ttscaling.records.jsonl import LFS_POINTER


def require_files(checkpoint: Path) -> None:
    """Check a checkpoint's files: no pointers of git-lfs, and weights in complete safetensors files.

    Only the headers of the weights are read.

    Raises:
        ValueError: a file is a pointer, missing or damaged; the message says what to do.
        OSError: the folder can't be read.
    """
    for path in sorted(checkpoint.iterdir()):
        if path.is_file():
            _refuse_pointer(path)
    for index in checkpoint.glob("*.safetensors.index.json"):
        shards = set(json.loads(index.read_text())["weight_map"].values())
        missing = sorted(name for name in shards if not (checkpoint / name).exists())
        if missing:
            raise ValueError(
                f"{checkpoint} lacks {', '.join(missing)}, which {index.name} names: download the "
                "checkpoint again"
            )
    weights = sorted(checkpoint.glob("*.safetensors"))
    if not weights:
        raise ValueError(
            f"{checkpoint} has no weights in safetensors files: use a complete checkpoint or convert it"
        )
    for path in weights:
        with opened_weights(path):
            pass


@contextmanager
def opened_weights(path: Path) -> Iterator[Any]:
    """Open a safetensors file. Raises ValueError if it is a git-lfs pointer, or damaged."""
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(f"{path} can't be read ({error}): download it again") from error


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(
                f"{path} is a git-lfs pointer and not the file itself: run `git lfs pull` in its folder, or "
                "download the checkpoint with `hf download`"
            )
