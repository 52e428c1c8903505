"""What a request may ask of the image processor: the `mm_processor_kwargs` of one request, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .tiling import TilingConfig
from .v2pe import parse_delta

_KNOWN = ("v2pe_delta", "v2pe_max_tokens", "min_dynamic_patch", "max_dynamic_patch")


@dataclass(frozen=True)
class ImageOptions:
    """A request's wishes after checks and limits.

    `max_tokens` positions are kept free for the answer when the prompt is checked against the trained window.
    """

    delta: float | Literal["auto"]
    tiling: TilingConfig
    max_tokens: int


def parse_options(
    request: Mapping[str, object],
    engine: Mapping[str, object],
    tiling: TilingConfig,
    default_delta: float,
) -> ImageOptions:
    """Options of one request.

    `v2pe_delta`: a number or "auto". `min_dynamic_patch`, `max_dynamic_patch`: the fewest and most tiles of
    an image; more than the limit is cut down to it. `v2pe_max_tokens`: how many positions the answer may
    need.

    Args:
        request: the request's `mm_processor_kwargs`.
        engine: the engine's own `mm_processor_kwargs`: the defaults, and in `max_dynamic_patch` the limit.
        tiling: the checkpoint's tiling; its `max_tiles` is the limit where the engine sets none.
        default_delta: the delta where neither request nor engine names one.

    Raises:
        ValueError: an unknown name or a value out of range; the message says what to send.
    """
    unknown = sorted(set(request) - set(_KNOWN))
    if unknown:
        raise ValueError(f"unknown mm_processor_kwargs {', '.join(unknown)}; known are {', '.join(_KNOWN)}")
    asked = {**engine, **request}
    limit = _count("max_dynamic_patch", engine.get("max_dynamic_patch", tiling.max_tiles), least=1)
    most = min(limit, _count("max_dynamic_patch", asked.get("max_dynamic_patch", limit), least=1))
    fewest = min(
        limit, _count("min_dynamic_patch", asked.get("min_dynamic_patch", tiling.min_tiles), least=1)
    )
    if fewest > most and "min_dynamic_patch" in request:
        raise ValueError(f"min_dynamic_patch ({fewest}) must not be above max_dynamic_patch ({most})")
    return ImageOptions(
        delta=parse_delta(asked.get("v2pe_delta", default_delta)),
        tiling=TilingConfig(tiling.tile_size, min(fewest, most), most, tiling.use_thumbnail),
        max_tokens=_count("v2pe_max_tokens", asked.get("v2pe_max_tokens", 0), least=0),
    )


def _count(name: str, value: object, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value
