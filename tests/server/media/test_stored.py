"""The media that other servers have sent: by owner and id, within a limit on memory."""

import pytest
from PIL import Image

from server.errors import ApiError
from server.media.stored import MIB, MediaStore, StoredMedium, UnknownMedia
from server.request_media import LoadedImage

FIRST, SECOND = ("first", None), ("second", None)


def medium(mib: float) -> StoredMedium:
    image = LoadedImage(Image.new("RGB", (1, 1)), b"", "image/png")
    return StoredMedium(medium=image, size=int(mib * MIB))


def test_only_the_owner_finds_a_medium():
    store, kept = MediaStore(4), medium(1)
    store.keep(FIRST, "a", kept)
    assert store.find(FIRST, ["a", "a"]) == {"a": kept} and store.find(SECOND, []) == {}
    for owner in (SECOND, ("first", "salt")):
        with pytest.raises(UnknownMedia) as refused:
            store.find(owner, ["a"])
        assert refused.value.missing == ("a",)


def test_what_was_used_longest_ago_is_dropped():
    store = MediaStore(3)
    for name in "abc":
        store.keep(FIRST, name, medium(1))
    store.find(FIRST, ["a"])
    store.keep(SECOND, "d", medium(1.5))
    assert store.used == 2.5 * MIB
    with pytest.raises(UnknownMedia) as refused:
        store.find(FIRST, ["c", "a", "b", "c"])
    assert refused.value.missing == ("c", "b")
    assert refused.value.body["error"]["missing"] == ["c", "b"] and refused.value.status == 409


def test_a_medium_that_is_sent_again_counts_once():
    store = MediaStore(3)
    for _ in range(5):
        store.keep(FIRST, "a", medium(2))
    assert store.used == 2 * MIB


def test_a_medium_beyond_the_whole_memory_is_refused_and_drops_nothing():
    store = MediaStore(2)
    store.keep(FIRST, "a", medium(1))
    with pytest.raises(ApiError) as refused:
        store.keep(FIRST, "b", medium(2.5))
    assert refused.value.status == 413 and store.find(FIRST, ["a"])
