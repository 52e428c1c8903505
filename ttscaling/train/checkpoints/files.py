"""Check that the files of a checkpoint are there and can be read, before a run begins."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

_POINTER = b"version https://git-lfs.github.com/spec/"


def require_files(checkpoint: Path) -> None:
    """Check a checkpoint's files: no pointers of git-lfs, and weights in complete safetensors files.

    Only the headers of the weights are read.

    Raises:
        ValueError: a file is a pointer, missing or damaged; the message says what to do.
        OSError: the folder can't be read.
    """
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and _begins_as_pointer(path):
            raise ValueError(
                f"{path} is a pointer of git-lfs and not the file itself: run `git lfs pull` in {checkpoint}"
            )
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
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{path} can't be read as safetensors ({error}): download the checkpoint again"
            ) from error


def _begins_as_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER
