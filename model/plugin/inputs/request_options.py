"""Check the `mm_processor_kwargs` of a request, and combine them with the engine's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model.images.tiling import TilingConfig, choose_grid
from model.v2pe import Deltas, parse_deltas

_KNOWN = (
    "v2pe_delta",
    "v2pe_max_tokens",
    "v2pe_reserve",
    "v2pe_growth",
    "min_dynamic_patch",
    "max_dynamic_patch",
    "max_dynamic_patch_total",
    "video_max_dynamic_patch",
    "video_timestamps",
)


@dataclass(frozen=True)
class VisionOptions:
    """A request's options after checks and limits.

    `tiling` holds for each image, `frame_tiling` for each frame of a video. `max_tiles_total` is the most
    tiles that all images may have together, without thumbnails. `timestamps` is whether the labels of frames
    hold their times. `max_tokens` positions are kept free for the answer when the prompt is checked against
    the trained window. Where that is possible, delta "auto" keeps `reserve` positions free for the answer,
    and `growth` positions after the last image or video for the conversation.
    """

    deltas: Deltas
    tiling: TilingConfig
    max_tiles_total: int | None
    frame_tiling: TilingConfig
    timestamps: bool
    max_tokens: int
    reserve: int = 0
    growth: int = 0

    def image_tiling(self, sizes: Sequence[tuple[int, int]]) -> TilingConfig:
        """Return the tiling for each image of a prompt with several images.

        If all images together would exceed `max_tiles_total`, each gets an equal share of it, at least one
        tile. This is how OpenGVLab/InternVL trains with several images (`internvl/train/dataset.py`).

        Args:
            sizes: (width, height) of each image.

        Raises:
            ValueError: there are more images than tiles.
        """
        if self.max_tiles_total is None:
            return self.tiling
        if len(sizes) > self.max_tiles_total:
            raise ValueError(
                f"{len(sizes)} images need at least a tile each, but max_dynamic_patch_total allows "
                f"{self.max_tiles_total} tiles in all: send fewer images or raise max_dynamic_patch_total"
            )
        grids = [choose_grid(width, height, self.tiling) for width, height in sizes]
        if sum(columns * rows for columns, rows in grids) <= self.max_tiles_total:
            return self.tiling
        share = min(self.tiling.max_tiles, self.max_tiles_total // len(sizes))
        return replace(self.tiling, min_tiles=min(self.tiling.min_tiles, share), max_tiles=share)


def parse_options(
    request: Mapping[str, object],
    engine: Mapping[str, object],
    tiling: TilingConfig,
    default_delta: float,
) -> VisionOptions:
    """Return the options of one request.

    - `v2pe_delta`: a number for all images and videos, a list with one number for each, or "auto".
    - `min_dynamic_patch`, `max_dynamic_patch`: the fewest and the most tiles of an image.
    - `max_dynamic_patch_total`: the most tiles of all images together.
    - `video_max_dynamic_patch`: the most tiles of a video's frame, 1 by default.
    - `video_timestamps`: whether the prompt says when each frame is shown.
    - `v2pe_max_tokens`: how many positions the answer may need.
    - `v2pe_reserve`: how many positions "auto" keeps for an answer that has no limit of its own.
    - `v2pe_growth`: how many positions "auto" keeps after the last image or video.

    A maximum above the engine's limit is lowered to the limit.

    Args:
        request: the request's `mm_processor_kwargs`. engine: the engine's `mm_processor_kwargs`. They are the
        defaults, and its three maxima are the limits. tiling: the checkpoint's tiling; its `max_tiles` is the
        limit if the engine sets none. default_delta: the delta if neither the request nor the engine names
        one.

    Raises:
        ValueError: a name is unknown or a value is out of range; the message says what to send.
    """
    unknown = sorted(set(request) - set(_KNOWN))
    if unknown:
        raise ValueError(f"unknown mm_processor_kwargs {', '.join(unknown)}: use {', '.join(_KNOWN)}")
    options = {**engine, **request}
    limit = _count("max_dynamic_patch", engine.get("max_dynamic_patch", tiling.max_tiles), least=1)
    most = min(limit, _count("max_dynamic_patch", options.get("max_dynamic_patch", limit), least=1))
    fewest = min(
        limit, _count("min_dynamic_patch", options.get("min_dynamic_patch", tiling.min_tiles), least=1)
    )
    if fewest > most and "min_dynamic_patch" in request:
        raise ValueError(f"min_dynamic_patch ({fewest}) must not be above max_dynamic_patch ({most})")
    of_frame = _count("video_max_dynamic_patch", options.get("video_max_dynamic_patch", 1), least=1)
    timestamps = options.get("video_timestamps", False)
    if not isinstance(timestamps, bool):
        raise ValueError(f"video_timestamps must be true or false, not {timestamps!r}")
    return VisionOptions(
        deltas=parse_deltas(options.get("v2pe_delta", default_delta)),
        tiling=TilingConfig(tiling.tile_size, min(fewest, most), most, tiling.use_thumbnail),
        max_tiles_total=_total(request, engine),
        frame_tiling=replace(
            tiling, min_tiles=1, max_tiles=min(of_frame, most_tiles_of_a_frame(engine, tiling))
        ),
        timestamps=timestamps,
        max_tokens=_count("v2pe_max_tokens", options.get("v2pe_max_tokens", 0), least=0),
        reserve=_count("v2pe_reserve", options.get("v2pe_reserve", 0), least=0),
        growth=_count("v2pe_growth", options.get("v2pe_growth", 0), least=0),
    )


def most_tiles_of_a_frame(engine: Mapping[str, object], tiling: TilingConfig) -> int:
    """Return the limit of `video_max_dynamic_patch`: that of the engine, or else the limit for an image."""
    limit = engine.get("max_dynamic_patch", tiling.max_tiles)
    return _count("video_max_dynamic_patch", engine.get("video_max_dynamic_patch", limit), least=1)


def _total(request: Mapping[str, object], engine: Mapping[str, object]) -> int | None:
    totals = [
        _count("max_dynamic_patch_total", source["max_dynamic_patch_total"], least=1)
        for source in (request, engine)
        if source.get("max_dynamic_patch_total") is not None
    ]
    return min(totals, default=None)


def _count(name: str, value: object, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value
