"""What turns one item into an answer: the seam between the run and frames, strategies and planning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clients.video_jobs.items.item import Item, is_address
from clients.video_jobs.questions import Asker, VideoAnswer

from .video_group import VideoGroup


@dataclass(frozen=True)
class AnsweredItem:
    """The answer to an item, the length of its video in seconds if known, and pictures for the report.

    `thumbnails` are times in seconds with a small JPEG each.
    """

    answer: VideoAnswer
    duration: float | None = None
    thumbnails: tuple[tuple[float, bytes], ...] = ()


class Answerer(Protocol):
    """Answers items."""

    async def __call__(self, item: Item, video: Path, ask: Asker) -> AnsweredItem:
        """Return the answer to an item on its video file; every paid request goes through `ask`.

        Raises ItemError if the item can't be answered, WorkerLost if a process died that worked on it, and
        what `ask` raises.
        """

    async def work_of(self, item: Item, video: Path) -> float | None:
        """Return how much work an item will be, such as its tokens, or None if all are about equal."""


async def weigh_items(
    groups: Sequence[VideoGroup], answerer: Answerer, weigh: Callable[[Item, float], None]
) -> None:
    """Find out how much work each item will be, while the run goes on; those of addresses stay unknown."""
    for group in groups:
        if not is_address(group.video):
            for item in group.items:
                work = await answerer.work_of(item, Path(group.video))
                if work is not None:
                    weigh(item, work)
