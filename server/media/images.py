"""Check that bytes are a complete image of an allowed format and size.

Only common formats are allowed, because their decoders are widely fuzzed. Servers that accepted every format
of Pillow were attacked through the rare ones.
"""

from io import BytesIO

from PIL import Image

from .failures import MediaError

FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}

# Pillow decodes a WebP without giving up the interpreter's lock, so no other request goes on meanwhile. This
# many pixels take up to half a second.
MAX_WEBP_PIXELS = 2**25


def check_image(data: bytes, *, pixels_left: int, max_pixels: int, param: str) -> tuple[str, tuple[int, int]]:
    """Return the image's media type, and its width and height in pixels.

    The number of pixels in the header is checked before anything is decoded. Then the image is decoded once.
    The error messages never quote Pillow's, which have contained memory addresses.

    Raises:
        MediaError: 400 with `param`, if the image can't be read, is damaged, or has more than `pixels_left`
            or, as a WebP, more than MAX_WEBP_PIXELS. The request may hold `max_pixels`, of which the images
            before this one have used some.
    """
    try:
        image = Image.open(BytesIO(data), formats=[name for name in FORMATS if name != "MPO"])
        width, height = image.size
        kind = FORMATS[image.format or ""]
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
    if kind == "webp" and width * height > MAX_WEBP_PIXELS:
        raise MediaError(
            f"A WebP image may have {MAX_WEBP_PIXELS} pixels. Send a smaller one, or a JPEG or PNG.",
            kind="image",
            reason="too_large",
            param=param,
        )
    try:
        image.load()
    except Exception:
        raise MediaError(
            "The image is damaged or cut off. Send the complete file.",
            kind="image",
            reason="invalid",
            param=param,
        ) from None
    return f"image/{kind}", (width, height)


def _too_large(max_pixels: int, param: str) -> MediaError:
    return MediaError(
        f"The image has too many pixels; a request may hold {max_pixels} in all. Send smaller images.",
        kind="image",
        reason="too_large",
        param=param,
    )
