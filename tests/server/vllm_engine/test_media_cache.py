"""vLLM's media cache changes in the renderer's thread alone, so no request loses an entry it counts on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from server.vllm_engine.media_cache import change_in_media_thread, touch_in_media_thread


class Cache:
    """A cache that notes what is done to it, and whether that happens in the thread of the test."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, bool]] = []

    def invalidate(self, media_hash: str) -> None:
        self._note("dropped", media_hash)

    def touch_sender_cache_item(self, media_hash: str) -> None:
        self._note("used", media_hash)

    def _note(self, change: str, media_hash: str) -> None:
        self.changes.append((change, media_hash, threading.current_thread() is threading.main_thread()))


def test_entries_change_after_the_request_that_is_being_rendered():
    cache, rendered = Cache(), threading.Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        renderer = SimpleNamespace(mm_processor_cache=cache, _mm_executor=thread)
        change_in_media_thread(renderer)
        thread.submit(rendered.wait)  # a request is between its look into the cache and its second step
        cache.invalidate("a")  # as vLLM's output handler does
        touch_in_media_thread(renderer, {"mm_hashes": {"image": ["b"], "video": ["c"]}})
        assert cache.changes == []
        rendered.set()
    assert cache.changes == [("dropped", "a", False), ("used", "b", False), ("used", "c", False)]


def test_an_engine_without_a_cache_needs_nothing():
    renderer = SimpleNamespace(mm_processor_cache=None)
    change_in_media_thread(renderer)
    touch_in_media_thread(renderer, {"mm_hashes": {"image": ["a"]}})
