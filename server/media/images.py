"""Check that bytes are a complete image of an allowed format and size, and decode it once.

Only common formats are allowed, because their decoders are widely fuzzed. Servers that accepted every format
of Pillow were attacked through the rare ones.
"""

from contextlib import suppress
from io import BytesIO

from PIL import ExifTags, Image, ImageOps

from .failures import MediaError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# Pillow decodes a WebP without giving up the interpreter's lock, so no other request goes on meanwhile. This
# many pixels take up to half a second.
MAX_WEBP_PIXELS = 2**25


def open_image(data: bytes, *, pixels_left: int, max_pixels: int, param: str) -> Image.Image:
    """Return an image of which only the header has been read.

    The error messages never quote Pillow's, which have contained memory addresses.

    Raises:
        MediaError: 400 with `param`, if the header can't be read, or says that the image has more than
            `pixels_left` or, as a WebP, more than MAX_WEBP_PIXELS. The request may hold `max_pixels`, of
            which the images before this one have used some.
    """
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError:
        raise _too_large(max_pixels, param) from None
    except Exception:  # a parser of hostile bytes may raise any exception
        raise MediaError(
            "The image could not be read. Send a JPEG, PNG, WebP, GIF or BMP file.",
            kind="image",
            reason="invalid",
            param=param,
        ) from None
    if width * height > pixels_left:
        raise _too_large(max_pixels, param)
    if image.format == "WEBP" and width * height > MAX_WEBP_PIXELS:
        raise MediaError(
            f"A WebP image may have {MAX_WEBP_PIXELS} pixels. Send a smaller one, or a JPEG or PNG.",
            kind="image",
            reason="too_large",
            param=param,
        )
    return image


def media_type(image: Image.Image) -> str:
    """Return the media type of an opened image, such as image/jpeg."""
    return Image.MIME[image.format or ""]


def decode_image(image: Image.Image, param: str) -> Image.Image:
    """Return an opened image as vLLM's loader decodes it: RGB, upright, and transparent parts over white.

    It is vLLM's `ImageMediaIO.load_bytes`, without a copy of every JPEG. The image holds nothing of its file.

    Raises:
        MediaError: 400 with `param`, if the image is damaged.
    """
    try:
        image.load()
        decoded = _rgb(_upright(image))
    except Exception:
        raise MediaError(
            "The image is damaged or cut off. Send the complete file.",
            kind="image",
            reason="invalid",
            param=param,
        ) from None
    # A JPEG has let go of its file, but the decoders of animations keep theirs.
    return decoded.copy() if decoded is image and image.format != "JPEG" else decoded


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # an image whose EXIF data can't be read stays as it is
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
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


def _too_large(max_pixels: int, param: str) -> MediaError:
    return MediaError(
        f"The image has too many pixels; a request may hold {max_pixels} in all. Send smaller images.",
        kind="image",
        reason="too_large",
        param=param,
    )
