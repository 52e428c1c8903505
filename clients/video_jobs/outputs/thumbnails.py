"""Small pictures of events, which are kept beside the results for the report."""

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from clients.video_jobs.digest import digest

FOLDER = "thumbnails"


def keep_thumbnails(folder: Path, item: str, thumbnails: Sequence[tuple[float, bytes]]) -> None:
    """Write the pictures of an item, each a time in seconds and a JPEG. Without pictures nothing is written.

    Raises OSError.
    """
    if thumbnails:
        (folder / FOLDER).mkdir(exist_ok=True)
        pictures = {str(seconds): base64.b64encode(jpeg).decode() for seconds, jpeg in thumbnails}
        _path(folder, item).write_text(json.dumps(pictures))


def thumbnails_of(folder: Path, item: str) -> Mapping[float, str]:
    """Return the pictures of an item in base64 by their times; none if they were not kept or are damaged."""
    with suppress(OSError, ValueError, AttributeError):
        pictures = json.loads(_path(folder, item).read_text())
        return {
            float(seconds): base64.b64encode(base64.b64decode(jpeg, validate=True)).decode()
            for seconds, jpeg in pictures.items()
        }
    return {}


def _path(folder: Path, item: str) -> Path:
    return folder / FOLDER / f"{digest(item)}.json"
