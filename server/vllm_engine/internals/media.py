"""What vLLM's renderers don't offer: their cache of media, and the thread that works with it."""

from collections.abc import Callable
from typing import Any


def media_cache(renderer: Any) -> Any | None:
    """Return the cache in which a renderer keeps the tiles of media; None if it has none."""
    return renderer.mm_processor_cache


def run_in_media_thread(renderer: Any, change: Callable[[str], Any], media_hash: str) -> None:
    """Have a change of the media cache made in the one thread in which a renderer works with it."""
    renderer._mm_executor.submit(change, media_hash)
