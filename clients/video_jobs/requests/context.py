"""A question on a video whose frames are at hand: what every strategy works on."""

from dataclasses import dataclass

from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.questions import VideoQuestion

from .choosing import uniform
from .settings import AskSettings
from .subtitles import Cue, read_cues, subtitle_text, subtitles_beside


@dataclass(frozen=True)
class Context:
    """A question, the times of the frames that were taken of its video, and the part that it is about.

    `times`, `start`, `end` and `duration` are seconds. `cues` are the subtitles, and `cuts` are when shots
    change; there are none unless the settings ask for scenes. Frames are named by their indices.
    """

    question: VideoQuestion
    settings: AskSettings
    times: tuple[float, ...]
    duration: float
    start: float
    end: float
    cues: tuple[Cue, ...]
    cuts: tuple[float, ...]

    def uniform(self, count: int, phase: float = 0.5) -> tuple[int, ...]:
        """Return so many frames that are spread evenly over the part."""
        return uniform(self.times, count, self.start, self.end, phase=phase)

    def subtitles(self, frames: tuple[int, ...], start: float | None = None, end: float | None = None) -> str:
        """Return the subtitles of the part, or of a shorter time, for a request with these frames."""
        first, last = self.start if start is None else start, self.end if end is None else end
        return subtitle_text(self.cues, first, last, [self.times[number] for number in frames])


def context_of(
    question: VideoQuestion,
    settings: AskSettings,
    times: tuple[float, ...],
    duration: float,
    cuts: tuple[float, ...] = (),
) -> Context:
    """Return what a strategy works on. Subtitles are those that are named, or stand beside the video.

    Raises:
        VideoError: the part lies outside the video, or the subtitles can't be read.
    """
    start = question.start or 0.0
    end = duration if question.end is None else min(question.end, duration)
    if start >= duration:
        raise VideoError(
            f"start is {start:g} s, but {question.video} ends at {duration:g} s. Choose within the video.",
            "probe",
        )
    if end <= start:
        raise VideoError(f"end is {end:g} s, which isn't after start, {start:g} s. Correct them.", "probe")
    subtitles = question.subtitles or subtitles_beside(question.video)
    return Context(
        question,
        settings,
        times,
        duration,
        start,
        end,
        cues=() if subtitles is None else read_cues(subtitles),
        cuts=cuts if settings.scenes else (),
    )
