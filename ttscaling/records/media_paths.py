"""TODO: what this file is about."""

from pathlib import Path

from PIL import Image

from .bad_records import RecordError


def media_path(root: Path, path: str) -> Path:
    """A record's path under the data set's root.

    Raises:
        RecordError: it leads out of the root (through `..`, an absolute path or a link), or to no file.
    """
    top = root.resolve()
    try:
        found = (top / path).resolve()
        exists = found.is_file()
    except (OSError, ValueError) as error:  # no path at all: bytes of an image, or a zero byte
        raise RecordError(f"{path[:80]!r} is no path ({error}): name a file below {root}") from error
    if not found.is_relative_to(top):
        raise RecordError(f"{path!r} leads out of the root {root}: use paths and links that stay below it")
    if not exists:
        raise RecordError(f"there is no file {path!r} under {root}: correct the path or the root")
    return found


def read_image(path: Path) -> Image.Image:
    """The decoded image, RGB. Raises RecordError where it can't be decoded."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise RecordError(f"{path} can't be decoded ({error}): replace or remove the image") from error
