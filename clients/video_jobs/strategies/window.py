"""The strategy `window`: one request with frames that are spread evenly over the video."""

from collections.abc import Mapping, Sequence
from typing import Any

from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, VideoAnswer
from clients.video_jobs.requests.context import Context
from clients.video_jobs.requests.outline import Outline, paid_request

from .prompts import ANSWER, answer_format
from .result import video_answer

REASON = "uniform frames in one request, which is the default"


def reason_for(context: Context) -> str:
    """Return why a question is answered from uniform frames."""
    frames = context.uniform(context.settings.num_frames)
    if len(frames) < context.settings.num_frames:
        return f"all {len(frames)} frames that were taken fit into one request"
    return REASON


def answer_outline(context: Context, frames: tuple[int, ...], purpose: str = "answer") -> Outline:
    """Return the request that answers the question from these frames."""
    question = context.question
    return Outline(
        purpose=purpose,
        prompt=ANSWER,
        frames=frames,
        text=context.subtitles(frames) + question.question,
        max_tokens=context.settings.max_tokens,
        fields=answer_fields(context),
    )


def answer_fields(context: Context) -> dict[str, object]:
    """Return the further fields of a request for an answer."""
    schema = context.question.schema
    return {**context.settings.fields, **(answer_format(schema) if schema is not None else {})}


def window_outline(context: Context) -> Outline:
    """Return the one request of the strategy."""
    return answer_outline(context, context.uniform(context.settings.num_frames))


async def answer_by_window(
    context: Context,
    video: VideoFrames,
    ask: Asker,
    *,
    fallback: str | None = None,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> VideoAnswer:
    """Answer a question from uniform frames. Raises ClientError.

    `fallback` says why another strategy gave up, and `earlier` are the replies that it got before.
    """
    outline = window_outline(context)
    reply = await ask(paid_request(outline, video, context.settings))
    return video_answer("window", fallback or reason_for(context), outline, reply, [*earlier, reply], video)
