"""Read the results and errors of a job back, whichever file of it is damaged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.video_jobs.ledger.append_log import parse


@dataclass(frozen=True)
class VideoResult:
    """The result of an item: its answer, and the events with times in seconds.

    `duration` is None if nobody knows it, and `length` then is the end of what is known of the video.
    """

    item: str
    video: str
    question: str
    answer: str
    events: tuple[tuple[float, float, str], ...]
    frames: tuple[float, ...]
    duration: float | None
    strategy: str
    reason: str
    delta: float | None
    tokens: Mapping[str, Any]
    attempts: int
    decode_passes: int

    @property
    def length(self) -> float:
        """The seconds that a time line of the video has to show; never 0."""
        known = [self.duration or 0.0, *self.frames, *(end for _, end, _ in self.events)]
        return max(known) or 1.0


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a file of JSON lines; none if there is no such file."""
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in map(parse, file) if line is not None)


def video_results(path: Path) -> Iterator[VideoResult]:
    """Yield the results in results.jsonl."""
    for line in read_lines(path):
        video = line["video"]
        yield VideoResult(
            item=line["custom_id"],
            video=video["source"],
            question=video["question"],
            answer=str(line["response"]["body"]["choices"][0]["message"]["content"]),
            events=tuple(sorted((event["start"], event["end"], event["text"]) for event in video["events"])),
            frames=tuple(video["frames"]),
            duration=video["duration"],
            strategy=video["strategy"],
            reason=video["reason"],
            delta=video["delta"],
            tokens=video["tokens"],
            attempts=video["attempts"],
            decode_passes=video["decode_passes"],
        )
