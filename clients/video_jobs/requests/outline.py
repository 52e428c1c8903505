"""A request before it is written: its frames, its text, and what it asks of the answer."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clients.video_jobs.digest import digest
from clients.video_jobs.frames.take import Take
from clients.video_jobs.questions import PaidRequest

from .settings import AskSettings

MS = 1000  # ticks of a second, in which the times of frames are sent


class Pictures(Protocol):
    """The frames of a video as a request needs them; see `VideoFrames`."""

    @property
    def content(self) -> str:
        """The hash of the video's file."""

    @property
    def take(self) -> Take:
        """What was taken of the video."""

    @property
    def times(self) -> Sequence[float]:
        """When each frame is first shown, in seconds."""

    @property
    def duration(self) -> float:
        """The length of the video in seconds."""

    def jpeg(self, number: int) -> bytes:
        """Return a frame as a JPEG."""


@dataclass(frozen=True)
class Outline:
    """A request about some of a video's frames.

    `frames` are indices of the taken frames, ascending. `prompt` is the name and version of the prompt, which
    goes into the key instead of how it is worded. `fields` are further fields of the request. `answers` are
    scored by the critic if there are any.
    """

    purpose: str
    prompt: str
    frames: tuple[int, ...]
    text: str
    max_tokens: int
    fields: Mapping[str, Any]
    answers: tuple[str, ...] = ()

    def delta(self, settings: AskSettings) -> float | str | None:
        """Return the delta that is sent: a number that is the same for all questions on these frames."""
        if settings.delta != "auto":
            return settings.delta
        if not settings.facts.is_measured:
            return "auto"
        return settings.facts.fitting_delta(len(self.frames), self.text, self.max_tokens) or "auto"


def paid_request(outline: Outline, video: Pictures, settings: AskSettings) -> PaidRequest:
    """Return an outline as a chat request, with the frames first and the text last.

    If it has answers, it is a request to `/v1/critic/score` instead.
    """
    times = [round(video.times[number] * MS) for number in outline.frames]
    duration = max(video.duration, (times[-1] + 1) / MS) if times else video.duration
    content: list[dict[str, Any]] = [{"type": "text", "text": outline.text}]
    media: dict[str, Any] = {}
    if outline.frames:
        jpegs = (base64.b64encode(video.jpeg(number)).decode() for number in outline.frames)
        content.insert(
            0, {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(jpegs)}}
        )
        media["media_io_kwargs"] = {
            "video": {
                "fps": MS,
                "frames_indices": times,
                "total_num_frames": max(round(duration * MS), times[-1] + 1),
                "duration": duration,
                "timestamps": True,
            }
        }
    body: dict[str, Any] = {"messages": [{"role": "user", "content": content}], **media}
    delta = outline.delta(settings)
    if outline.frames and delta is not None:
        body["v2pe_delta"] = delta
    if outline.answers:
        body["answers"] = list(outline.answers)
    else:
        body |= {"max_tokens": outline.max_tokens, **outline.fields}
        body |= {"model": settings.model} if settings.model else {}
    request = {name: value for name, value in body.items() if name != "messages"}
    key = digest(
        {
            "content": video.content,
            "take": video.take.name,
            "times": times,
            "prompt": outline.prompt,
            "text": outline.text,
            "request": request,
        }
    )
    return PaidRequest(outline.purpose, body, key)


def frame_times(outline: Outline, video: Pictures) -> Sequence[float]:
    """Return when the outline's frames are shown, in seconds."""
    return [video.times[number] for number in outline.frames]
