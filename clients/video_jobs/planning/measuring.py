"""Have a server count the tokens of planned requests, with grey pictures in place of the frames."""

import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from PIL import Image

from clients.video_jobs.frames.take import Take
from clients.video_jobs.requests.model_facts import ModelFacts
from clients.video_jobs.requests.outline import Outline, paid_request
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.requests.time_tags import time_tag

from .costs import CountTokens

Render = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Posts a body to /v1/chat/completions/render, and returns the reply's JSON. Raises ClientError."""

SAMPLE = "The quick brown fox jumps over the lazy dog while 12 people watch it. " * 8
SIDE = 28  # pixels of a grey picture; the server makes a tile of it, as of every frame


@dataclass(frozen=True)
class GreyFrames:
    """Grey pictures at given times (seconds) in place of a video's frames, which cost as many tokens."""

    times: Sequence[float]
    duration: float
    take: Take
    content: str = "grey"

    def jpeg(self, number: int) -> bytes:
        """Return a grey picture."""
        buffer = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), "grey").save(buffer, "JPEG")
        return buffer.getvalue()


async def measured_facts(render: Render, settings: AskSettings) -> ModelFacts:
    """Return the facts of the served model, from three small prompts. Raises ClientError."""
    grey = GreyFrames([float(second) for second in range(8)], 8.0, Take())
    free = replace(settings, delta=None)

    async def tokens(frames: int, text: str) -> tuple[list[int], int]:
        outline = Outline("render", "render-1", tuple(range(frames)), text, 1, {})
        reply = await render(paid_request(outline, grey, free).body)
        return list(reply["prompt_token_ids"]), int(reply["window"])

    (two, window), (eight, _), (with_text, _) = (
        await tokens(2, "?"),
        await tokens(8, "?"),
        await tokens(2, SAMPLE),
    )
    frame_tokens = max(len(list(run)) for _, run in groupby(two))
    label_tokens = (len(eight) - len(two)) / 6 - frame_tokens
    return ModelFacts(
        frame_tokens=frame_tokens,
        label_tokens=label_tokens,
        other_tokens=round(len(two) - 2 * (frame_tokens + label_tokens)),
        characters_per_token=len(SAMPLE) / max(1, len(with_text) - len(two)),
        window=window,
        is_measured=True,
    )


async def counted_by(
    render: Render,
    outlines: Sequence[Outline],
    times: Sequence[float],
    duration: float,
    settings: AskSettings,
) -> CountTokens:
    """Return a counter of tokens for which the server has counted one outline of each prompt and length.

    Another outline of the same prompt with as many frames differs in the characters of its times, each of
    which is a token, and in its text. Raises ClientError.
    """
    grey = GreyFrames(times, duration, Take())
    counted: dict[tuple[str, int], tuple[Outline, int]] = {}
    for outline in outlines:
        if _kind(outline) not in counted:
            asking = replace(outline, answers=(), max_tokens=max(1, outline.max_tokens))
            reply = await render(paid_request(asking, grey, settings).body)
            counted[_kind(outline)] = outline, int(reply["prompt_tokens"])

    def tags(outline: Outline) -> int:
        return sum(len(time_tag(times[number])) for number in outline.frames)

    def count(outline: Outline) -> int:
        like, tokens = counted[_kind(outline)]
        text = (len(outline.text) - len(like.text)) / settings.facts.characters_per_token
        return tokens + tags(outline) - tags(like) + round(text)

    return count


def _kind(outline: Outline) -> tuple[str, int]:
    return outline.prompt, len(outline.frames)
