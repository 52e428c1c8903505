"""Read the subtitles of a video (.srt, .vtt), and choose those that go into a request."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.video_jobs.frames.errors import VideoError

from .time_tags import time_tag

TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
TIMING = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}")
MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")
SUFFIXES = (".srt", ".vtt")
MOST_CHARACTERS = 20_000  # of all subtitles in one request, about 6,000 tokens


@dataclass(frozen=True)
class Cue:
    """A subtitle, and when it is shown (seconds)."""

    start: float
    end: float
    text: str


def subtitles_beside(video: Path) -> Path | None:
    """Return the .srt or .vtt file that has the video's name and stands beside it, or None."""
    for suffix in SUFFIXES:
        if (beside := video.with_suffix(suffix)).is_file():
            return beside
    return None


def read_cues(path: Path) -> tuple[Cue, ...]:
    """Return the subtitles of an .srt or .vtt file, by their times. Raises VideoError if it holds none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VideoError(f"The subtitles {path} can't be read: {error.strerror}.", "probe") from None
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    cues = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        for number, line in enumerate(lines):
            if match := TIMING.match(line):
                words = " ".join(MARKUP.sub("", " ".join(lines[number + 1 :])).split())
                start, end = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
                if words and end > start:
                    cues.append(Cue(start, end, html.unescape(words)))
                break
    if not cues:
        raise VideoError(
            f"{path} holds no subtitles that can be read. Save them as SRT or WebVTT, or leave them out.",
            "probe",
        )
    return tuple(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def subtitle_text(cues: Sequence[Cue], start: float, end: float, frame_times: Sequence[float]) -> str:
    """Return the subtitles from `start` to `end` seconds for a request, or an empty text if there are none.

    If they are too long, only those stay that are shown together with one of the frames.
    """
    lines = [_line(cue) for cue in cues if cue.end > start and cue.start < end]
    if sum(map(len, lines)) > MOST_CHARACTERS:
        at_frames = [cue for cue in cues if any(cue.start <= time < cue.end for time in frame_times)]
        lines = [_line(cue) for cue in at_frames]
    return "Subtitles:\n" + "\n".join(lines) + "\n\n" if lines else ""


def _line(cue: Cue) -> str:
    return f"{time_tag(cue.start)} {cue.text}"


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
