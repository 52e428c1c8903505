"""An image is decoded as vLLM's own loader decodes it: upright, in RGB, and over white."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image

from model.images.file import ImageError, TooManyPixels, decode_image, open_image

SIZE = (24, 10)


def colours(mode: str = "RGB") -> Image.Image:
    """Return an image in which all pixels differ, with every degree of transparency if `mode` has it."""
    pixels = np.random.default_rng(3).integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels.view(np.uint16)[..., 0])
    return Image.fromarray(pixels, "RGBA").convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(orientation: int, form: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(colours(), form, exif=exif)


def animated(form: str) -> bytes:
    return saved(colours(), form, save_all=True, append_images=[Image.new("RGB", SIZE, "red")])


FILES: dict[str, Callable[[], bytes]] = {
    **{f"JPEG turned by {tag}": lambda tag=tag: turned(tag) for tag in range(1, 10)},  # type: ignore[misc]
    "PNG turned": lambda: turned(6, "PNG"),
    "WebP turned": lambda: turned(8, "WEBP"),
    "JPEG in CMYK": lambda: saved(colours("CMYK"), "JPEG"),
    "JPEG in grey": lambda: saved(colours("L"), "JPEG"),
    "JPEG of several pictures": lambda: animated("MPO"),
    **{
        f"PNG in {mode}": lambda mode=mode: saved(colours(mode), "PNG")  # type: ignore[misc]
        for mode in ("RGB", "RGBA", "LA", "L", "1", "P", "I;16")
    },
    "PNG with a palette and transparency": lambda: saved(colours("P"), "PNG", transparency=bytes(range(256))),
    "PNG in RGB with a transparent colour": lambda: saved(colours(), "PNG", transparency=(1, 2, 3)),
    "PNG in grey with a transparent value": lambda: saved(colours("L"), "PNG", transparency=9),
    "animated PNG": lambda: animated("PNG"),
    "GIF": lambda: saved(colours("P"), "GIF"),
    "GIF with a transparent colour": lambda: saved(colours("P"), "GIF", transparency=7),
    "animated GIF": lambda: animated("GIF"),
    "WebP": lambda: saved(colours(), "WEBP", lossless=True),
    "WebP with transparency": lambda: saved(colours("RGBA"), "WEBP", lossless=True),
    "animated WebP": lambda: animated("WEBP"),
    "BMP": lambda: saved(colours(), "BMP"),
    "BMP with a palette": lambda: saved(colours("P"), "BMP"),
    "EXIF data that are damaged": lambda: turned(6).replace(b"Exif\0\0", b"Exif\0\0broken", 1),
}


def decoded(data: bytes) -> Image.Image:
    return decode_image(open_image(data, max_pixels=10**8))


@pytest.mark.engine  # it needs no engine, but it imports vLLM, which takes ten seconds
@pytest.mark.parametrize("name", FILES)
def test_as_vllm_decodes_it(name: str):
    from vllm.multimodal.media import ImageMediaIO

    data = FILES[name]()
    expected = ImageMediaIO().load_bytes(data).media
    assert expected.mode == "RGB" and expected.size in (SIZE, SIZE[::-1])
    image = decoded(data)
    assert (image.mode, image.size) == ("RGB", expected.size)
    assert image.tobytes() == expected.tobytes()


def test_an_image_is_turned_upright():
    assert decoded(turned(6)).size == SIZE[::-1] and decoded(turned(1)).size == SIZE


def test_transparent_parts_are_white():
    image = decoded(saved(Image.new("RGBA", SIZE, (255, 0, 0, 0)), "PNG"))
    assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "WEBP", "GIF"])
def test_a_decoded_image_keeps_no_file(form: str):
    image = decoded(animated(form) if form != "JPEG" else turned(1))
    assert getattr(image, "fp", None) is None


def test_the_header_decides_before_anything_is_decoded(decoded_images: list[str]):
    data = saved(colours(), "PNG")
    with pytest.raises(TooManyPixels, match="more than 239 pixels"):
        open_image(data, max_pixels=239)
    assert open_image(data, max_pixels=240).size == SIZE and not decoded_images


@pytest.mark.parametrize("data", [b"", b"no image", saved(colours(), "TIFF"), saved(colours(), "PPM")])
def test_what_is_no_image(data: bytes):
    with pytest.raises(ImageError, match="could not be read"):
        open_image(data, max_pixels=10**8)


def test_a_damaged_image():
    data = saved(colours(), "PNG")
    with pytest.raises(ImageError, match="damaged or cut off"):
        decoded(data[: len(data) // 2])
