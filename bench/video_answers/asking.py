"""Ask a server the questions of the bench, and read the events out of its answers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from clients.sdk.errors import ClientError, api_error
from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import PaidRequest, VideoAnswer, VideoQuestion
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.requests.time_tags import tag_seconds
from clients.video_jobs.strategies.answering import answer

from .scoring import Span

QUESTION = (
    "Which digits are shown, and when? For each list `start`, the time in front of the first frame that "
    "shows it, `end`, the time in front of the last one, and `text`, which is `digit` and its value."
)
TAG = {"type": "string", "pattern": "^([0-9]{2}:)?[0-9]{2}:[0-9]{2}$"}
EVENT = {
    "type": "object",
    "properties": {"start": TAG, "end": TAG, "text": {"type": "string", "maxLength": 40}},
    "required": ["start", "end", "text"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"events": {"type": "array", "items": EVENT, "maxItems": 200}},
    "required": ["events"],
    "additionalProperties": False,
}
DIGIT = re.compile(r"digit \d")


class Posting:
    """An Asker that posts every request, and counts requests and tokens."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.requests = self.prompt_tokens = 0

    async def __call__(self, request: PaidRequest) -> Mapping[str, Any]:
        """Return the reply's JSON. Raises ApiError if the server refuses the request."""
        response = await self._client.post(f"/{request.path}", json=dict(request.body))
        if response.status_code != httpx.codes.OK:
            raise api_error(response.status_code, response.content)
        reply: Mapping[str, Any] = response.json()
        self.requests += 1
        self.prompt_tokens += int((reply.get("usage") or {}).get("prompt_tokens") or 0)
        return reply

    async def render(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the server makes of a body, without an answer. Raises ApiError."""
        response = await self._client.post("/v1/chat/completions/render", json=dict(body))
        if response.status_code != httpx.codes.OK:
            raise api_error(response.status_code, response.content)
        reply: Mapping[str, Any] = response.json()
        return reply


@dataclass(frozen=True)
class Findings:
    """The events that a strategy found, and the times (seconds) of the frames that it has looked at.

    `problem` is why the server refused the question, or that an answer was empty.
    """

    events: tuple[Span, ...]
    frames: tuple[float, ...]
    problem: str | None = None

    def visible(self, truth: Sequence[Span]) -> float:
        """Return the share of the true events of which a frame was looked at: no model can find others."""
        has_frame = [any(event.start <= time < event.end for time in self.frames) for event in truth]
        return sum(has_frame) / len(has_frame) if has_frame else 1.0


async def found_events(
    question: VideoQuestion, frames: VideoFrames, ask: Posting, settings: AskSettings
) -> Findings:
    """Return the events that a strategy finds: those of its notes, or those that its answer lists.

    An answer that isn't complete, or that the server refuses, finds nothing.
    """
    try:
        found = await answer(question, frames, ask, settings)
    except ClientError as error:
        return Findings((), (), str(error))
    if found.strategy == "segments":
        noted = [event for event in found.events if DIGIT.search(event.text)]
        return Findings(tuple(Span(event.start, event.end, event.text) for event in noted), frames.times)
    return Findings(tuple(listed_events(found)), found.frames)


def listed_events(found: VideoAnswer) -> list[Span]:
    """Return the events that an answer lists in JSON. A tag means the frame of its second."""
    try:
        rows: Sequence[Mapping[str, str]] = json.loads(found.answer)["events"]
        spans = [(tag_seconds(row["start"]), tag_seconds(row["end"]), row["text"]) for row in rows]
    except (ValueError, KeyError, TypeError):
        return []
    return [
        Span(float(start), float(end + 1), text)
        for start, end, text in spans
        if start is not None and end is not None and DIGIT.search(text)
    ]
