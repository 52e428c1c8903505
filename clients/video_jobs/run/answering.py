"""What turns one item into an answer: the seam between the run and frames, strategies and planning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clients.video_jobs.items.item import Item
from clients.video_jobs.questions import Asker, VideoAnswer


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
