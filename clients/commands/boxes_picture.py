"""Draw the boxes of an answer on a copy of the picture that was asked about."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from clients.sdk.boxes import Box
from clients.sdk.errors import InvalidRequest

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6")
PARTS_OF_WIDTH = 300  # a line has this part of the picture's shorter side


def check_picture(images: Sequence[str], output: Path) -> None:
    """Raise InvalidRequest if no picture could be drawn, so that this is known before the question goes."""
    if len(images) != 1:
        raise InvalidRequest(f"--boxes draws on one picture, and there are {len(images)}; give one --image")
    if not Path(images[0]).is_file():
        raise InvalidRequest(f"--boxes draws on a local file, and {images[0]} is none; download it first")
    if output.suffix.lower() not in Image.registered_extensions():
        raise InvalidRequest(f"--boxes can't write {output}; use a name that ends in .png or .jpg")
    if not output.parent.is_dir():
        raise InvalidRequest(f"--boxes can't write {output}, because its folder doesn't exist; make it first")
    if output.exists() and output.samefile(images[0]):
        raise InvalidRequest(f"--boxes would write over the picture {output}; give another name")
    _opened(Path(images[0]))


def draw_boxes(image: Path, boxes: Sequence[Box], output: Path) -> None:
    """Write the picture with its boxes, each with its number and, where the font has it, its label.

    The picture is turned upright first, as the server does, because the boxes are those of the upright one.
    Raises InvalidRequest, and OSError if the picture can't be read.
    """
    picture = ImageOps.exif_transpose(_opened(image)).convert("RGB")
    drawing = ImageDraw.Draw(picture)
    line = max(2, min(picture.size) // PARTS_OF_WIDTH)
    font = ImageFont.load_default(size=max(12, 6 * line))
    for number, box in enumerate(boxes, 1):
        colour = COLOURS[(number - 1) % len(COLOURS)]
        left, top, right, bottom = box.pixels(picture.width - 1, picture.height - 1)
        drawing.rectangle((left, top, right, bottom), outline=colour, width=line)
        text = f"{number} {box.label}" if box.label.isascii() and box.label.isprintable() else f"{number}"
        place = left + line, top + line
        drawing.rectangle(drawing.textbbox(place, text, font=font), fill=colour)
        drawing.text(place, text, fill="white", font=font)
    try:
        picture.save(output)
    except OSError as error:
        raise InvalidRequest(f"--boxes can't write {output}: {error.strerror or error}") from None


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise InvalidRequest(f"{path} is no picture that can be drawn on; use PNG, JPEG or WebP") from None
