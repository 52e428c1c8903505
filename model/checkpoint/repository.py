"""Find a checkpoint, which is a folder or lies on the hub, and read its text files."""

import os
from pathlib import Path

from transformers.utils import cached_file


def read_file(
    checkpoint: str | os.PathLike[str], name: str, *, revision: str | None, token: bool | str | None
) -> str | None:
    """Return a file's text, or None if the checkpoint has no such file.

    Args:
        checkpoint: a folder or a name on the hub. Anything else, such as a GGUF file, has no files.
        name: the file's name.
        revision: the branch, tag or commit on the hub.
        token: the access token of the hub; True is the stored one.
    """
    path = _path(checkpoint, name, revision, token)
    return None if path is None else path.read_text(encoding="utf-8")


def checkpoint_folder(
    checkpoint: str | os.PathLike[str], *, revision: str | None, token: bool | str | None
) -> Path | None:
    """Return the folder with the checkpoint's files, or None if there is no such checkpoint here.

    The arguments are those of `read_file`. For a checkpoint of the hub it is the folder in the hub's cache.
    """
    config = _path(checkpoint, "config.json", revision, token)
    return None if config is None else config.parent


def _path(
    checkpoint: str | os.PathLike[str], name: str, revision: str | None, token: bool | str | None
) -> Path | None:
    try:
        path = cached_file(
            checkpoint,
            name,
            revision=revision,
            token=token,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except OSError:
        return None
    return None if path is None else Path(path)
