"""Read a text file of a checkpoint, which is a folder or lies on the hub."""

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
    return None if path is None else Path(path).read_text(encoding="utf-8")
