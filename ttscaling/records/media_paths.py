"""Find the images and videos that records name, and decode the images."""

import os
from pathlib import Path

from PIL import Image

from .bad_records import RecordError


def media_path(root: Path, path: str) -> Path:
    """Return the file that a record names by its path under the data set's root.

    Links are followed, also out of the root, because the folders of a root are often links to other disks.
    The text of the path must stay below the root.

    Raises:
        RecordError: the path leads out of the root (through `..` or as an absolute path), or to no file.
    """
    inside = os.path.normpath(path)
    if os.path.isabs(inside) or inside == ".." or inside.startswith("../"):
        raise RecordError(
            f"{path[:80]!r} leads out of the root {root}: write the path below it, and link to other folders"
        )
    try:
        file = (root / inside).resolve()
        exists = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # no path, such as the bytes of an image, or a loop
        raise RecordError(f"{path[:80]!r} is no path ({error}): name a file below {root}") from error
    if not exists:
        raise RecordError(f"there is no file {path!r} under {root}: correct the path or the root")
    return file


def read_image(path: Path) -> Image.Image:
    """Return the decoded image in RGB. Raises RecordError if it can't be decoded."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise RecordError(f"{path} can't be decoded ({error}): replace or remove the image") from error
