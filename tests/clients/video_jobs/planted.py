"""A real video with events at known times, and a model that sees in each request what its frames show."""

import asyncio
import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from clients.video_jobs.frames.cache import FrameCache
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.video_frames import FrameSource
from clients.video_jobs.questions import Event, PaidRequest
from clients.video_jobs.requests.time_tags import time_tag

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "white": (240, 240, 240),
}
GREY = (90, 90, 90)
RATE = 4


def write_planted(path: Path, seconds: int, events: Sequence[Event], rate: int = RATE) -> Path:
    """Write a grey video in which each event, named by a colour of COLOURS, fills the picture with it."""
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "18"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(seconds * rate):
            time = number / rate
            shown = [event.text for event in events if event.start <= time < event.end]
            pixels = np.full((32, 32, 3), COLOURS[shown[0]] if shown else GREY, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@asynccontextmanager
async def planted_frames(path: Path, folder: Path, fps: float = 1.0):
    """Open the frames of a video through the real cache."""
    async with FrameSource(FrameCache(folder), Take(fps=fps, side=32)).open(path) as frames:
        yield frames


@dataclass
class SeeingModel:
    """An Asker that looks at the pixels of each request's frames, and remembers all requests.

    It tells colours apart, and answers with the colours that it sees or finds in notes. `replies` replaces
    the replies to requests of these purposes.
    """

    replies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    requests: list[PaidRequest] = field(default_factory=list)

    async def __call__(self, request: PaidRequest) -> Mapping[str, Any]:
        self.requests.append(request)
        await asyncio.sleep(0)  # other requests go on meanwhile, as with a server
        if request.purpose in self.replies:
            return self.replies[request.purpose]
        body, text = request.body, text_of(request)
        if "answers" in body:
            return {"scores": [{"score": len(answer) / 100} for answer in body["answers"]]}
        if request.purpose == "route":
            return one_token(0.9)
        if request.purpose.startswith("score"):
            asked = [colour for colour in COLOURS if colour in text.split("question?")[1]]
            return one_token(0.9 if set(asked) & set(self.colours(request)) else 0.1)
        if request.purpose.startswith("segment"):
            return completion(json.dumps({"events": self.listed(request)}))
        seen = [colour for colour in COLOURS if colour in self.colours(request) or f" {colour}\n" in text]
        return completion(f"It shows {', '.join(seen) or 'nothing'}.")

    def colours(self, request: PaidRequest) -> list[str | None]:
        """The colour of each frame of a request; None is grey."""
        return [colour_of(jpeg) for jpeg in jpegs_of(request)]

    def listed(self, request: PaidRequest) -> list[dict[str, str]]:
        """The events in a request's frames, with the tags of their first and last frame."""
        events: list[dict[str, str]] = []
        before = None
        for time, colour in zip(times_of(request), self.colours(request), strict=True):
            if colour and colour == before:
                events[-1]["end"] = time_tag(time)
            elif colour:
                events.append({"start": time_tag(time), "end": time_tag(time), "text": colour})
            before = colour
        return events


def text_of(request: PaidRequest) -> str:
    """The text of a request, which is its last part."""
    return str(request.body["messages"][0]["content"][-1]["text"])


def times_of(request: PaidRequest) -> list[float]:
    """When a request's frames are shown, as the server reads its fields."""
    video = request.body["media_io_kwargs"]["video"]
    return [index / video["fps"] for index in video["frames_indices"]]


def jpegs_of(request: PaidRequest) -> list[bytes]:
    """The frames of a request."""
    (url,) = [part["video_url"]["url"] for part in request.body["messages"][0]["content"][:-1]]
    return [base64.b64decode(frame) for frame in url.removeprefix("data:video/jpeg;base64,").split(",")]


def colour_of(jpeg: bytes) -> str | None:
    """The name of the colour that fills a frame, or None for grey."""
    pixel = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))[16, 16].astype(int)
    nearest = min([*COLOURS.items(), (None, GREY)], key=lambda named: np.abs(pixel - named[1]).sum())
    return nearest[0]


def completion(text: str) -> dict[str, Any]:
    """A chat completion."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage,
        "vision": {"v2pe_delta": 0.25},
    }


def one_token(yes: float) -> dict[str, Any]:
    """A completion of one token with its logprobs: P(yes) is `yes`, and the rest is P(no)."""
    tokens = [{"token": " Yes", "logprob": math.log(yes)}, {"token": "no", "logprob": math.log(1 - yes)}]
    reply = completion("Yes" if yes > 0.5 else "no")
    reply["choices"][0]["logprobs"] = {"content": [{"token": " Yes", "top_logprobs": tokens}]}
    return reply
