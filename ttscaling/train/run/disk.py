"""Turn an error of writing into one line that says how to go on."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

# torch.save has no error of its own.
_OF_TORCH_SAVE = ("PytorchStreamWriter", "inline_container", "iostream error")


@contextmanager
def writing(what: str, folder: Path, advice: str) -> Iterator[None]:
    """Write something into a folder within this context.

    Args:
        what: what is written, with its article.
        folder: an existing folder on the disk that it is written to.
        advice: what to do when there is room.

    Raises:
        OSError: it can't be written, for example because the disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError, CheckpointException, RuntimeError) as error:
        if not _is_of_disk(error):
            raise
        free = shutil.disk_usage(folder).free / 1e9
        raise OSError(
            f"{what} can't be written into {folder} ({_reason(error)}). Its disk has {free:.1f} GB left: "
            f"make room, and {advice}"
        ) from error


def _is_of_disk(error: BaseException) -> bool:
    return not isinstance(error, RuntimeError) or any(part in str(error) for part in _OF_TORCH_SAVE)


def _reason(error: BaseException) -> str:
    if isinstance(error, RuntimeError):
        return "torch.save failed"
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error).splitlines()[0] if str(error) else type(error).__name__
