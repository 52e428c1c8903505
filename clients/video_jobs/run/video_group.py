"""Group items by their videos, and divide them into shards.

One worker asks the questions on a video one after another, so that the caches of the video serve them all.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clients.video_jobs.items.item import Item
from clients.video_jobs.ledger.ledger import Ledger


@dataclass(frozen=True)
class VideoGroup:
    """A video (a path or an address), and its items in their order."""

    video: str
    items: tuple[Item, ...]


def grouped(items: Iterable[Item]) -> Iterator[VideoGroup]:
    """Yield the items by their videos, in the order in which the videos come first."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.video, []).append(item)
    for video, members in groups.items():
        yield VideoGroup(video, tuple(members))


def unfinished(group: VideoGroup, ledger: Ledger, lost: int) -> VideoGroup | None:
    """Return those items of a group without an outcome that lost `lost` attempts, or None."""
    items = tuple(
        item
        for item in group.items
        if ledger.state(item.id).outcome is None and ledger.state(item.id).lost == lost
    )
    return VideoGroup(group.video, items) if items else None


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a job, from 0. Raises ValueError for a number out of range."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise ValueError(
                f"{self} is no shard: the shards of N are 0/N to N-1/N, such as 0/4, 1/4, 2/4 and 3/4"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, item: Item) -> bool:
        """Return whether an item is in this shard. All questions on a video are in one shard."""
        value = hashlib.sha256(item.video.encode(errors="surrogateescape")).digest()
        return int.from_bytes(value[:8]) % self.count == self.index


def shard_of(text: str) -> Shard:
    """Return the shard that "I/N" names. Raises ValueError for other texts."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        raise ValueError(f"{text} is no shard: write I/N, such as 0/4 for the first of four")
    return Shard(int(index), int(count))
