"""Is it an image, and one that is safe to hand on? Checked from its header first, then by decoding it once.

Few formats, each decoded by code that is widely fuzzed: servers that took every format Pillow knows were
attacked through the rare ones.
"""

from io import BytesIO

from PIL import Image

from server.errors import ApiError

FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}


def check_image(data: bytes, *, max_pixels: int, param: str) -> tuple[str, int]:
    """The image's media type and its number of pixels; raises ApiError (400) naming `param`.

    Nothing is decoded before the pixels that the header promises are counted. Messages never repeat the
    decoder's: those have held addresses of memory.
    """
    try:
        image = Image.open(BytesIO(data), formats=[name for name in FORMATS if name != "MPO"])
        width, height = image.size
        kind = FORMATS[image.format or ""]
    except Image.DecompressionBombError:
        raise _too_large(max_pixels, param) from None
    except Exception:  # what a parser of hostile bytes may raise is not a closed set
        raise ApiError(
            "The image could not be read. Send a JPEG, PNG, WebP, GIF or BMP file.",
            param=param,
            code="invalid_image",
        ) from None
    if width * height > max_pixels:
        raise _too_large(max_pixels, param)
    try:
        image.load()
    except Exception:
        raise ApiError(
            "The image is damaged or cut off. Send the complete file.", param=param, code="invalid_image"
        ) from None
    return f"image/{kind}", width * height


def _too_large(max_pixels: int, param: str) -> ApiError:
    return ApiError(
        f"The image has too many pixels; a request may hold {max_pixels} in all. Send smaller images.",
        param=param,
        code="image_too_large",
    )
