"""The strategy `search`: the model scores segments for a question, and the answer looks at the best ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from clients.video_jobs.frames.look import difference
from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, VideoAnswer
from clients.video_jobs.requests.choosing import filled, frames_between, thinned
from clients.video_jobs.requests.context import Context
from clients.video_jobs.requests.outline import Outline, paid_request
from clients.video_jobs.requests.segments import Segment, even_segments

from .parallel import in_parallel
from .prompts import ROUTE, SCORE, route_text, score_text
from .replies import yes_probability
from .result import video_answer
from .window import answer_by_window, answer_outline

FRAMES_OF_A_SEGMENT = 4  # in the request that scores it
LEAST_SPREAD = 0.02  # between the best and the worst segment, below which the scores say nothing
SIMILARITY = 0.5  # the weight of being unlike what was chosen already, as in WFS-SB (2603.00512)
FIRST_TOKEN = {"temperature": 0, "logprobs": True, "top_logprobs": 20}
REASON = "the model's own scores of segments find the moment that the question is about"


def scored_segments(context: Context) -> tuple[Segment, ...]:
    """Return the segments that are scored; they don't overlap."""
    return even_segments(context.start, context.end, context.settings.segment_seconds, 0.0)


def route_outline(context: Context) -> Outline:
    """Return the request that says whether the question is about moments. It holds no frames."""
    return Outline("route", ROUTE, (), route_text(context.question.question), 1, FIRST_TOKEN)


def score_outline(context: Context, segment: Segment) -> Outline:
    """Return the request that scores a segment."""
    frames = thinned(frames_between(context.times, segment.start, segment.end), FRAMES_OF_A_SEGMENT)
    subtitles = context.subtitles(frames, segment.start, segment.end)
    text = score_text(context.question.question, subtitles)
    return Outline(f"score {segment.number}", SCORE, frames, text, 1, FIRST_TOKEN)


async def answer_by_search(context: Context, video: VideoFrames, ask: Asker) -> VideoAnswer:
    """Answer a question from the frames of the best segments and uniform anchors.

    If the question is about the whole video, or if the scores say nothing, uniform frames answer it. Raises
    ClientError.
    """
    settings = context.settings
    if len(context.uniform(settings.num_frames)) < settings.num_frames:
        return await answer_by_window(context, video, ask)

    async def reply_to(outline: Outline) -> Mapping[str, Any]:
        return await ask(paid_request(outline, video, settings))

    route = await reply_to(route_outline(context))
    local = yes_probability(route)
    if local is not None and local < 0.5:
        fallback = f"the model holds the question for one about the whole video (P(moment) = {local:.2f})"
        return await answer_by_window(context, video, ask, fallback=fallback, earlier=[route])
    segments = scored_segments(context)
    replies = await in_parallel(
        reply_to, [score_outline(context, one) for one in segments], settings.parallel
    )
    scores = [yes_probability(reply) for reply in replies]
    known = [score for score in scores if score is not None]
    if len(known) < len(scores) or max(known) - min(known) < LEAST_SPREAD:
        fallback = "the model's scores don't tell the segments apart"
        return await answer_by_window(context, video, ask, fallback=fallback, earlier=[route, *replies])
    frames = chosen_frames(context, video, segments, known)
    outline = answer_outline(context, frames)
    reply = await reply_to(outline)
    return video_answer(
        "search",
        REASON,
        outline,
        reply,
        [route, *replies, reply],
        video,
        evidence={
            "local": local,
            "segments": [
                [one.start, one.end, round(score, 4)] for one, score in zip(segments, known, strict=True)
            ],
        },
    )


def chosen_frames(
    context: Context, video: VideoFrames, segments: Sequence[Segment], scores: Sequence[float]
) -> tuple[int, ...]:
    """Return the anchors and the frames of good segments.

    Segments are taken one after the other: the one whose score is highest, less what its look has in common
    with those taken before. A segment gives as many frames as if a quarter of all segments were looked at,
    and one from each of its neighbours.
    """
    settings = context.settings
    anchors = context.uniform(settings.anchor_count)
    room = settings.num_frames - len(anchors)
    each = max(2, 4 * room // max(1, len(segments)))
    looks = [video.looks[_middle(context, segment)] for segment in segments]
    left = set(range(len(segments)))
    order: list[int] = []
    preferred: list[int] = []
    while left:
        best = max(
            sorted(left), key=lambda number: scores[number] - SIMILARITY * _likeness(looks, number, order)
        )
        left.remove(best)
        order.append(best)
        inside = frames_between(context.times, segments[best].start, segments[best].end)
        preferred += thinned(inside, each)
        preferred += [
            _middle(context, segments[near]) for near in (best - 1, best + 1) if 0 <= near < len(segments)
        ]
    return filled(preferred, anchors, settings.num_frames)


def _middle(context: Context, segment: Segment) -> int:
    inside = frames_between(context.times, segment.start, segment.end)
    return inside[len(inside) // 2]


def _likeness(looks: Sequence[Sequence[int]], number: int, others: Sequence[int]) -> float:
    """Return how much the look of a segment has in common with the likest of the others, from 0 to 1."""
    return max((1 - difference(looks[number], looks[other]) for other in others), default=0.0)
