"""Find the images and videos that records name, and decode the images."""

from pathlib import Path

from PIL import Image

from .bad_records import RecordError


def media_path(root: Path, path: str) -> Path:
    """Return the file that a record names by its path under the data set's root.

    Raises:
        RecordError: the path leads out of the root (through `..`, an absolute path or a link), or to no file.
    """
    top = root.resolve()
    try:
        file = (top / path).resolve()
        exists = file.is_file()
    except (OSError, ValueError) as error:  # the text can't be a path, such as the bytes of an image
        raise RecordError(f"{path[:80]!r} is no path ({error}): name a file below {root}") from error
    if not file.is_relative_to(top):
        raise RecordError(f"{path!r} leads out of the root {root}: use paths and links that stay below it")
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
