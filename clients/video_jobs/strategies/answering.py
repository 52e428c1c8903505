"""Answer a question on a video by the strategy that it names."""

from clients.video_jobs.frames.scenes import shot_changes
from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, VideoAnswer, VideoQuestion
from clients.video_jobs.requests.context import context_of
from clients.video_jobs.requests.settings import AskSettings

from .evidence import answer_by_evidence
from .over_notes import answer_over_notes
from .search import answer_by_search
from .window import answer_by_window

STRATEGIES = ("window", "segments", "search", "evidence")


def check_strategy(name: str) -> None:
    """Raise ValueError if there is no strategy of that name."""
    if name not in STRATEGIES:
        raise ValueError(f"there is no strategy {name}; take one of {', '.join(STRATEGIES)}")


async def answer(
    question: VideoQuestion, video: VideoFrames, ask: Asker, settings: AskSettings
) -> VideoAnswer:
    """Answer a question on a video whose frames are at hand.

    Raises:
        ClientError: the server refused a request, can't be reached, or answered with an empty text.
        VideoError: the part of the video that the question names lies outside of it, or its subtitles can't
            be read.
        ValueError: there is no such strategy.
    """
    check_strategy(question.strategy)
    cuts = shot_changes(video.times, video.looks) if settings.scenes else ()
    context = context_of(question, settings, video.times, video.duration, cuts)
    match question.strategy:
        case "segments":
            return await answer_over_notes(context, video, ask)
        case "search":
            return await answer_by_search(context, video, ask)
        case "evidence":
            return await answer_by_evidence(context, video, ask)
    return await answer_by_window(context, video, ask)
