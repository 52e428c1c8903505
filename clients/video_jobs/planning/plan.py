"""The plan of a question: which requests its strategy will send, what they cost, and why it was taken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clients.video_jobs.frames.reader import VideoFacts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.timeline import taken_frames
from clients.video_jobs.questions import VideoQuestion
from clients.video_jobs.requests.context import Context, context_of
from clients.video_jobs.requests.outline import Outline
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.strategies.evidence import REASON as EVIDENCE_REASON
from clients.video_jobs.strategies.evidence import critic_outline, evidence_outlines
from clients.video_jobs.strategies.notes import NOTE_TOKENS, note_outline, segments_of
from clients.video_jobs.strategies.over_notes import REASON as SEGMENTS_REASON
from clients.video_jobs.strategies.over_notes import final_outline
from clients.video_jobs.strategies.search import REASON as SEARCH_REASON
from clients.video_jobs.strategies.search import route_outline, score_outline, scored_segments
from clients.video_jobs.strategies.window import reason_for, window_outline

from .costs import Cost, cost_of, decode_seconds, estimate, frame_bytes
from .measuring import Render, counted_by


@dataclass(frozen=True)
class Plan:
    """What a question will cost. The first question on a video pays `decode_seconds` and `cache_bytes`.

    Notes of the strategy `segments` are paid once for all questions on a video with the same settings.
    `outlines` are those of the requests that the cost is of.
    """

    outlines: tuple[Outline, ...]
    strategy: str
    reason: str
    cost: Cost
    taken_frames: int
    decode_seconds: float
    cache_bytes: int


async def plan_question(
    question: VideoQuestion,
    facts: VideoFacts,
    take: Take,
    settings: AskSettings,
    render: Render | None = None,
    *,
    earlier: Sequence[Outline] = (),
) -> Plan:
    """Return the plan of a question on a video that nobody has decoded yet.

    Requests that earlier questions on the video have paid for, by the outlines of their plans, cost nothing.
    With `render` a server counts the tokens; without it they follow from `settings.facts`. Where scenes are
    asked for, the cuts aren't known before the decode, so the plan has segments of even length.

    Raises:
        VideoError: the part that the question is about lies outside the video, or its subtitles can't be
            read.
        ClientError: the server can't count.
    """
    times = tuple(facts.times[number] for number in taken_frames(facts.times, facts.duration, take.fps))
    context = context_of(question, replace(settings, scenes=False), times, facts.duration)
    reason, needed = planned_outlines(context)
    outlines = [outline for outline in needed if outline not in earlier] or needed[-1:]
    if render is None:
        count = estimate(settings)
    else:
        count = await counted_by(render, outlines, times, facts.duration, settings)
    notes = sum(NOTE_TOKENS for outline in outlines if outline.purpose.startswith("segment"))
    return Plan(
        outlines=tuple(outlines),
        strategy=question.strategy,
        reason=reason,
        cost=cost_of(outlines, settings, take, count, notes),
        taken_frames=len(times),
        decode_seconds=decode_seconds(facts),
        cache_bytes=len(times) * frame_bytes(take),
    )


def planned_outlines(context: Context) -> tuple[str, list[Outline]]:
    """Return why a strategy is taken, and the outlines of its requests.

    They are made by the functions that make those of a run. What depends on replies is planned as if nothing
    was found: the last request has no notes, and `search` looks at uniform frames.
    """
    match context.question.strategy:
        case "segments":
            notes = [note_outline(context, segment) for segment in segments_of(context)]
            return SEGMENTS_REASON, [*notes, final_outline(context, [])]
        case "search":
            scores = [score_outline(context, segment) for segment in scored_segments(context)]
            return SEARCH_REASON, [route_outline(context), *scores, window_outline(context)]
        case "evidence":
            outlines = evidence_outlines(context)
            return EVIDENCE_REASON, [*outlines, critic_outline(context, ("",) * len(outlines))]
    return reason_for(context), [window_outline(context)]
