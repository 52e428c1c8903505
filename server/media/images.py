"""Check and decode an image of a request; the errors name the field that it came with."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from model.images.file import ImageError, TooManyPixels
from model.images.file import decode_image as decode
from model.images.file import open_image as open_file

from .failures import MediaError


def open_image(data: bytes, *, pixels_left: int, max_pixels: int, param: str) -> Image.Image:
    """Return an image of which only the header has been read.

    Raises:
        MediaError: 400 with `param`, if the header can't be read, or says that the image has more than
            `pixels_left` or, as a WebP, more pixels than such an image may have. The request may hold
            `max_pixels`, of which the images before this one have used some.
    """
    with _refused(param):
        try:
            return open_file(data, max_pixels=pixels_left)
        except TooManyPixels as error:
            if error.allowed != pixels_left:
                raise
            raise TooManyPixels(
                f"The image has too many pixels; a request may hold {max_pixels} in all. "
                "Send smaller images.",
                pixels_left,
            ) from None


def media_type(image: Image.Image) -> str:
    """Return the media type of an opened image, such as image/jpeg."""
    return Image.MIME[image.format or ""]


def decode_image(image: Image.Image, param: str) -> Image.Image:
    """Return an opened image in RGB, upright. Raises MediaError (400 with `param`) if it is damaged."""
    with _refused(param):
        return decode(image)


@contextmanager
def _refused(param: str) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        reason = "too_large" if isinstance(error, TooManyPixels) else "invalid"
        raise MediaError(str(error), kind="image", reason=reason, param=param) from None
