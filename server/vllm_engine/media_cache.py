"""Let only the renderer's media thread change vLLM's media cache, which isn't made for several threads.

The thread first asks which media of a request are in the cache, makes the tiles of the others, and then takes
the first ones from the cache. vLLM drops entries in the event loop, when the engine has no copy of a medium.
An entry that goes while a request is between the two steps ends that request with an internal error.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from .internals.media import media_cache, run_in_media_thread


def change_in_media_thread(renderer: Any) -> None:
    """Have vLLM's renderer drop entries of its media cache in the thread that works with the cache."""
    cache = media_cache(renderer)
    if cache is None:
        return
    drop = cache.invalidate

    def invalidate(media_hash: str) -> None:
        run_in_media_thread(renderer, drop, media_hash)

    cache.invalidate = invalidate


def touch_in_media_thread(renderer: Any, prompt: Mapping[str, Any]) -> None:
    """Mark the media of a rendered prompt as used, as the engine does in its own cache.

    Both caches must drop the same media.
    """
    cache = media_cache(renderer)
    if cache is None:
        return
    for media_hash in chain.from_iterable(prompt.get("mm_hashes", {}).values()):
        run_in_media_thread(renderer, cache.touch_sender_cache_item, media_hash)
