"""The strategy `evidence`: several answers from different frames, of which the critic chooses the best."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from clients.sdk.errors import ClientError
from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, VideoAnswer
from clients.video_jobs.requests.context import Context
from clients.video_jobs.requests.outline import Outline, paid_request

from .parallel import in_parallel
from .prompts import ANSWER
from .replies import text_of
from .result import video_answer
from .window import answer_outline

REASON = "answers from different frames were compared, because answers from the same frames repeat its gaps"


def evidence_outlines(context: Context) -> tuple[Outline, ...]:
    """Return the requests for the answers. Each has uniform frames, shifted against those of the others."""
    sets = context.settings.evidence_sets
    frames = [
        context.uniform(context.settings.num_frames, phase=(number + 0.5) / sets) for number in range(sets)
    ]
    return tuple(
        answer_outline(context, chosen, f"answer {number}")
        for number, chosen in enumerate(dict.fromkeys(frames))
    )


def critic_outline(context: Context, answers: tuple[str, ...]) -> Outline:
    """Return the request that has the critic score the answers, with uniform frames in view."""
    frames = context.uniform(context.settings.num_frames)
    text = context.subtitles(frames) + context.question.question
    return Outline("critic", ANSWER, frames, text, 0, {}, answers)


async def answer_by_evidence(context: Context, video: VideoFrames, ask: Asker) -> VideoAnswer:
    """Answer a question from several sets of frames, and return the answer with the critic's best score.

    If the critic can't score them, the most frequent answer is returned, or else the first one, and the
    reason says so. Raises ClientError if there are no answers.
    """
    outlines = evidence_outlines(context)

    async def reply_to(outline: Outline) -> Mapping[str, Any]:
        return await ask(paid_request(outline, video, context.settings))

    replies = await in_parallel(reply_to, outlines, context.settings.parallel)
    answers = tuple(text_of(reply) for reply in replies)
    if len(set(answers)) == 1:
        reason, scores, best = f"{REASON}, and all are equal", None, 0
        critic = None
    else:
        critic, problem = await _scored(critic_outline(context, answers), reply_to)
        scores = None if critic is None else [row.get("score") for row in critic["scores"]]
        if scores is None or not any(score is not None for score in scores):
            best = answers.index(Counter(answers).most_common(1)[0][0])
            reason = f"{REASON}; the most frequent was taken, because no critic scored them ({problem})"
        else:
            best = max(
                range(len(scores)), key=lambda number: -1.0 if scores[number] is None else scores[number]
            )
            reason = f"{REASON}; the critic scored this one best"
    return video_answer(
        "evidence",
        reason,
        outlines[best],
        replies[best],
        replies if critic is None else [*replies, critic],
        video,
        evidence={"answers": list(answers), "scores": scores},
    )


async def _scored(outline: Outline, reply_to: Any) -> tuple[Mapping[str, Any] | None, str]:
    """Return the critic's reply, or None and why there is none."""
    try:
        reply: Mapping[str, Any] = await reply_to(outline)
    except ClientError as error:
        return None, str(error)
    return (reply, "it scored none") if "scores" in reply else (None, "the reply holds no scores")
