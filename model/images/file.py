"""Read an image file of a stranger: its header is checked first, and then it is decoded once.

Only common formats are allowed, because their decoders are widely fuzzed. Servers that accepted every format
of Pillow were attacked through the rare ones. The error messages never quote Pillow's, which have contained
memory addresses.
"""

from contextlib import suppress
from io import BytesIO

from PIL import ExifTags, Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# Pillow decodes a WebP without giving up the interpreter's lock, so no other request goes on meanwhile. This
# many pixels take up to half a second.
MAX_WEBP_PIXELS = 2**25


class ImageError(ValueError):
    """An error for an image that can't be used; its message says why and what to send."""


class TooManyPixels(ImageError):
    """The image has more pixels than `allowed`."""

    def __init__(self, message: str, allowed: int) -> None:
        super().__init__(message)
        self.allowed = allowed


def open_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """Return an image of which only the header has been read.

    Raises:
        ImageError: the header can't be read, or, as TooManyPixels, it says that the image has more than
            `max_pixels` or, as a WebP, more than MAX_WEBP_PIXELS.
    """
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
    except Image.DecompressionBombError:
        raise _too_many(max_pixels) from None
    except Exception:  # a parser of hostile bytes may raise any exception
        raise ImageError("The image could not be read. Send a JPEG, PNG, WebP, GIF or BMP file.") from None
    if pixels > max_pixels:
        raise _too_many(max_pixels)
    if image.format == "WEBP" and pixels > MAX_WEBP_PIXELS:
        raise TooManyPixels(
            f"A WebP image may have {MAX_WEBP_PIXELS} pixels. Send a smaller one, or a JPEG or PNG.",
            MAX_WEBP_PIXELS,
        )
    return image


def decode_image(image: Image.Image) -> Image.Image:
    """Return an opened image as vLLM's loader decodes it: RGB, upright, and transparent parts over white.

    It is vLLM's `ImageMediaIO.load_bytes`, without a copy of every JPEG. The image holds nothing of its file.

    Raises:
        ImageError: the image is damaged.
    """
    try:
        image.load()
        decoded = _rgb(_upright(image))
    except Exception:
        raise ImageError("The image is damaged or cut off. Send the complete file.") from None
    # A JPEG has let go of its file, but the decoders of animations keep theirs.
    return decoded.copy() if decoded is image and image.format != "JPEG" else decoded


def _too_many(max_pixels: int) -> TooManyPixels:
    return TooManyPixels(f"The image has more than {max_pixels} pixels. Send a smaller one.", max_pixels)


def is_upright(image: Image.Image) -> bool:
    """Return whether an image is shown as it is stored. One whose EXIF data can't be read is."""
    try:
        return bool(image.getexif().get(ExifTags.Base.Orientation, 1) == 1)
    except Exception:  # Pillow passes on what its reader of damaged data meets
        return True


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # an image that can't be turned stays as it is
        if not is_upright(image):
            return ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    with_alpha = image if image.mode == "RGBA" else image.convert("RGBA")
    over_white = Image.new("RGB", image.size, "white")
    over_white.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return over_white
