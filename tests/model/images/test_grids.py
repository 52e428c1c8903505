"""Tiles are the same where the compiled loops can't run, and the log says once that they are slower."""

import subprocess
import sys

import numpy as np
import pytest

from model.images.tiling import TilingConfig, tile_image

PROGRAM = """
import sys, logging
import numpy as np
logging.basicConfig()
{broken}
from model.images.tiling import TilingConfig, tile_image
pixels = np.random.default_rng(5).integers(0, 256, (300, 170, 3), dtype=np.uint8)
for _ in range(2):
    tiles = tile_image(pixels, TilingConfig(56, 1, 6, use_thumbnail=True))
sys.stdout.buffer.write(tiles.tobytes())
"""


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("sys.modules['numba'] = None", "ModuleNotFoundError: import of numba halted"),
        ("import llvmlite.binding as b; object.__delattr__(b.ffi.lib, '_fntab')", "RecursionError: "),
        (
            "from numba.core.dispatcher import Dispatcher as D\n"
            "def fail(*_): raise RuntimeError('no such CPU')\n"
            "D.compile = fail",
            "RuntimeError: no such CPU",
        ),
        ("", None),
    ],
    ids=["no numba", "another llvmlite", "no compiler", "as it is"],
)
def test_tiles_are_the_same_without_compiled_loops(broken: str, reason: str | None):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(broken=broken)], capture_output=True, check=False
    )
    log = run.stderr.decode()
    assert run.returncode == 0, log
    pixels = np.random.default_rng(5).integers(0, 256, (300, 170, 3), dtype=np.uint8)
    assert run.stdout == tile_image(pixels, TilingConfig(56, 1, 6, use_thumbnail=True)).tobytes()
    expected = (
        f"Images are resized by Pillow, several times slower, because numba doesn't work here: {reason}"
    )
    assert log.count(expected) == (reason is not None), log
