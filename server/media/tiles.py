"""Count the tiles that a request's images become, before the engine cuts them."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.images.tiling import TilingConfig, num_tiles
from model.plugin.inputs.request_options import parse_options
from server.settings import Settings


def count_tiles(
    sizes: Sequence[tuple[int, int]], vision: Mapping[str, Any], tiling: TilingConfig, settings: Settings
) -> int:
    """Return the tiles of all images together, thumbnails included.

    The count is 0 if the options in `vision` are invalid: the engine refuses these with its own reason.

    Args:
        sizes: the width and height of each image, in pixels.
        vision: the request's mm_processor_kwargs.
        tiling: the checkpoint's rules for cutting an image into tiles.
        settings: the limits of the server.
    """
    limits = {
        "max_dynamic_patch": settings.max_tiles,
        "max_dynamic_patch_total": settings.max_total_tiles,
    }
    engine = {name: limit for name, limit in limits.items() if limit is not None}
    try:
        image_tiling = parse_options(vision, engine, tiling, default_delta=1.0).image_tiling(sizes)
    except ValueError:
        return 0
    return sum(num_tiles(width, height, image_tiling) for width, height in sizes)
