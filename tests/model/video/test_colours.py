"""Clips that name their colour matrix and range are converted to RGB with exactly these."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from tests.videos import SIZE, read

# The weights of red and blue in luma (ITU-R BT.601-7, BT.709-6, BT.2020-2), and FFmpeg's number of the matrix
# (libavutil/pixfmt.h, AVColorSpace).
MATRICES = {"bt601": (0.299, 0.114, 6), "bt709": (0.2126, 0.0722, 1), "bt2020": (0.2627, 0.0593, 9)}
COLOURS = [(200, 30, 60), (20, 180, 40), (40, 60, 220), (128, 128, 128), (250, 240, 10)]


def yuv(rgb: tuple[int, int, int], matrix: str, *, full: bool) -> list[int]:
    """Return Y, Cb and Cr in 8 bits, as the recommendation defines them."""
    red, green, blue = np.array(rgb) / 255
    of_red, of_blue, _ = MATRICES[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    chroma = [(blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)]
    scaled = (
        [255 * luma, *(255 * c + 128 for c in chroma)]
        if full
        else [219 * luma + 16, *(224 * c + 128 for c in chroma)]
    )
    return [round(min(max(value, 0), 255)) for value in scaled]


def write_tagged(path: Path, matrix: str, *, full: bool) -> Path:
    """Write a lossless clip with one frame of each colour, which says how its numbers are meant."""
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"qp": "0", "g": "1"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = MATRICES[matrix][2]
        context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        for number, rgb in enumerate(COLOURS):
            y, cb, cr = yuv(rgb, matrix, full=full)
            planes = np.concatenate(
                [
                    np.full(SIZE[0] * SIZE[1] // part, value, np.uint8)
                    for part, value in ((1, y), (4, cb), (4, cr))
                ]
            ).reshape(SIZE[1] * 3 // 2, SIZE[0])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_those_that_the_clip_means(tmp_path: Path, matrix: str, full: bool, suffix: str):
    clip = write_tagged(tmp_path / f"clip.{suffix}", matrix, full=full)
    with av.open(clip) as file:
        [frame, *_] = file.decode(video=0)
        assert frame.colorspace in (MATRICES[matrix][2], Colorspace.ITU601 if matrix == "bt601" else None)
    tiles = read(clip, len(COLOURS)).tiles[:, 0]
    found = tiles.astype(int).mean(axis=(1, 2))
    assert np.abs(found - COLOURS).max() <= 3, found  # 8 bits of luma and chroma round, and so does swscale


@pytest.mark.parametrize(("matrix", "other"), [("bt601", "bt709"), ("bt709", "bt601"), ("bt2020", "bt601")])
def test_a_wrong_matrix_would_show(matrix: str, other: str):
    differences = np.subtract(
        [yuv(c, matrix, full=False) for c in COLOURS], [yuv(c, other, full=False) for c in COLOURS]
    )
    assert np.abs(differences).max() > 10
