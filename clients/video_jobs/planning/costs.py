"""What requests cost before they are sent: tokens, positions, bytes, and the time to decode the video."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clients.video_jobs.frames.reader import VideoFacts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.requests.outline import Outline
from clients.video_jobs.requests.settings import AskSettings

PIXELS_PER_SECOND = 8e8  # of H.264 that one core decodes, measured on `internvl3 bench video`'s clip
JPEG_BYTES, JPEG_BYTES_PER_PIXEL = 900, 0.15  # of frames of that clip at quality 90

CountTokens = Callable[[Outline], int]
"""Returns how many tokens the prompt of an outline has."""


@dataclass(frozen=True)
class Cost:
    """What requests cost together.

    `prompt_tokens` are without what the model will write as notes, which may add up to `note_tokens`.
    `positions` and `delta` are those of the request with most frames. Its delta is "auto" if it fits the
    window with none, and None if it is the server's own. Answers have at most `completion_tokens`.
    """

    requests: int
    frames: int
    prompt_tokens: int
    note_tokens: int
    completion_tokens: int
    positions: int
    delta: float | str | None
    upload_bytes: int


def cost_of(
    outlines: Sequence[Outline], settings: AskSettings, take: Take, count: CountTokens, note_tokens: int
) -> Cost:
    """Return what requests cost together."""
    largest = max(outlines, key=lambda outline: len(outline.frames))
    delta = largest.delta(settings)
    tokens = count(largest)
    visual = len(largest.frames) * settings.facts.frame_tokens
    if delta == "auto":
        delta = settings.facts.fitting_delta(len(largest.frames), largest.text, largest.max_tokens) or "auto"
    moved = delta if isinstance(delta, float | int) else 1.0
    frames = sum(len(outline.frames) for outline in outlines)
    return Cost(
        requests=len(outlines),
        frames=frames,
        prompt_tokens=sum(map(count, outlines)),
        note_tokens=note_tokens,
        completion_tokens=sum(outline.max_tokens for outline in outlines),
        positions=tokens - visual + len(largest.frames) * math.ceil(settings.facts.frame_tokens * moved),
        delta=delta,
        upload_bytes=round(frames * frame_bytes(take) * 4 / 3),
    )


def estimate(settings: AskSettings) -> CountTokens:
    """Return a counter of tokens for which no server is needed."""
    return lambda outline: settings.facts.prompt_tokens(len(outline.frames), outline.text)


def frame_bytes(take: Take) -> int:
    """Return about how many bytes a frame takes as a JPEG."""
    return round(JPEG_BYTES + JPEG_BYTES_PER_PIXEL * take.side**2)


def decode_seconds(facts: VideoFacts) -> float:
    """Return about how many seconds of one core the one decode of a video takes."""
    return len(facts.times) * facts.width * facts.height / PIXELS_PER_SECOND
