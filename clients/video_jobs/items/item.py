"""One question on one video of a job, and what makes it another question than before."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clients.video_jobs.digest import digest


@dataclass(frozen=True)
class Item:
    """One question on one video; its answer is one line of results.jsonl.

    `video` is a path or an address (http, https, s3). `start` and `end` are seconds from the video's first
    frame. `parameters` holds the strategy and the fields of chat requests that the item asks for by itself.
    """

    id: str
    video: str
    question: str
    schema: Mapping[str, Any] | None = None
    start: float | None = None
    end: float | None = None
    subtitles: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the item asks, without its id."""
        return digest({name: value for name, value in asdict(self).items() if name != "id"})


@dataclass(frozen=True)
class BadItem:
    """An item that can't be asked: where it stands (such as "line 7") and what is wrong with it."""

    id: str
    message: str


def ids_of(base: str, count: int) -> list[str]:
    """Return the ids of `count` questions on the video `base`: its own, or numbered ones from 1."""
    return [base] if count == 1 else [f"{base}#{number}" for number in range(1, count + 1)]


def is_address(video: str) -> bool:
    """Return whether a video has to be fetched, and is no path of this machine."""
    return video.startswith(("http://", "https://", "s3://"))
