"""A question on a video, the requests that its answer costs, and the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class VideoQuestion:
    """A question on a video file, and how it is to be answered.

    `schema` is the JSON schema of the answer. `start` and `end` are seconds from the video's first frame, and
    frames are taken between them. `subtitles` is an .srt or .vtt file. `strategy` is the name of a strategy.
    """

    video: Path
    question: str
    schema: Mapping[str, Any] | None = None
    start: float | None = None
    end: float | None = None
    subtitles: Path | None = None
    strategy: str = "window"


@dataclass(frozen=True)
class PaidRequest:
    """A request that costs work of the server.

    `purpose` says what it is for, such as "answer", "segment 3" or "score 12". `body` is the body of a chat
    request with the media in it. `key` is a hash over the content of the video, what was taken of it, the
    version of the prompt, the model and the sampling: the same key stands for the same work.
    """

    purpose: str
    body: Mapping[str, Any]
    key: str

    @property
    def path(self) -> str:
        """The endpoint: that of the critic for a body with answers to score, and else that of chats."""
        return "v1/critic/score" if "answers" in self.body else "v1/chat/completions"


class Asker(Protocol):
    """Sends requests to the server."""

    async def __call__(self, request: PaidRequest) -> Mapping[str, Any]:
        """Return the reply's JSON. A reply that is known already is not paid again. Raises ClientError."""


@dataclass(frozen=True)
class Event:
    """What happens from `start` to `end` (seconds), and the index of the segment in which it was seen."""

    start: float
    end: float
    text: str
    segment: int | None = None


@dataclass(frozen=True)
class VideoAnswer:
    """The answer to a question on a video, and what it rests on.

    `reason` says why this strategy was taken. `frames` are the times (seconds) of the frames of the request
    that gave the answer, and `delta` is V2PE's in it. `usage` counts the tokens of all requests.
    `decode_passes` tells how often the video was decoded. `evidence` is what the strategy found on its way.
    """

    answer: str
    strategy: str
    reason: str
    events: tuple[Event, ...]
    frames: tuple[float, ...]
    delta: float | None
    usage: Mapping[str, Any]
    decode_passes: int
    evidence: Mapping[str, Any]
