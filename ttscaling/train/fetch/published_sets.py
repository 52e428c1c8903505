"""The published data sets that `internvl3 train fetch` knows, and their download from the hub."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import DryRunError, HfHubHTTPError

from .unpacking import MARKERS

Name = Literal["visualprm400k", "visualprm400k-chats", "mmpr", "visualprocessbench"]


@dataclass(frozen=True)
class PublishedSet:
    """A data set on the hub, and the format of its records as `internvl3 train check` calls it."""

    repository: str
    form: Literal["judged", "chats", "pairs", "marked"]


def published_set(name: Name) -> PublishedSet:
    """Return the newest published version of a data set."""
    return {
        "visualprm400k": PublishedSet("OpenGVLab/VisualPRM400K-v1.1-Raw", "judged"),
        "visualprm400k-chats": PublishedSet("OpenGVLab/VisualPRM400K-v1.1", "chats"),
        "mmpr": PublishedSet("OpenGVLab/MMPR-v1.2", "pairs"),
        "visualprocessbench": PublishedSet("OpenGVLab/VisualProcessBench", "marked"),
    }[name]


def download(
    repository: str,
    folder: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Download the files of a data set that aren't in the folder yet. A file that was cut off goes on.

    Archives that are unpacked already aren't downloaded again, so they may be removed.

    Args:
        repository: name of the data set on the hub.
        folder: where its files go.
        revision: the branch, tag or commit; None means the newest.
        endpoint: address of the hub; None means that of the environment (`HF_ENDPOINT`).
        free_bytes: returns the free bytes of the folder's disk.

    Raises:
        ValueError: the hub can't be reached, or has no such data set that the user may read.
        OSError: the disk is too small or a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markers = folder / MARKERS
    unpacked = [path.name for path in markers.iterdir()] if markers.is_dir() else []
    options = {
        "repo_type": "dataset",
        "revision": revision,
        "endpoint": endpoint,
        "local_dir": folder,
        "ignore_patterns": [pattern for name in unpacked for pattern in (name, f"{name}_*", f"{name}.*")],
    }
    try:
        plan = snapshot_download(repository, dry_run=True, **options)  # type: ignore[call-overload]
        needed, free = sum(one.file_size for one in plan if one.will_download), free_bytes(folder)
        if needed > free:
            raise OSError(
                f"{repository} needs {needed / 1e9:.1f} GB in {folder} for its archives alone, and "
                f"{free / 1e9:.1f} GB are free: make room for twice as much, or name another --output"
            )
        snapshot_download(repository, **options)  # type: ignore[call-overload]
    except (HfHubHTTPError, DryRunError) as error:
        reason = type(error.__cause__ or error).__name__
        raise ValueError(
            f"the data set {repository} can't be read on the hub ({reason}): "
            "correct its name or the revision, log in with `hf auth login`, or mend the connection"
        ) from error
