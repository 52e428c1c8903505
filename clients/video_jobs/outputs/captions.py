"""Write the events of a video as chapters in WebVTT, or as subtitles in SRT."""

from collections.abc import Iterable

Cue = tuple[float, float, str]
"""Start and end in seconds, and the text."""

SHORTEST = 0.1  # seconds of a cue; one without a length is not shown


def webvtt_chapters(events: Iterable[Cue]) -> str:
    """Return the events as WebVTT of the kind chapters, whose cues are nested or disjoint (W3C WebVTT, 4.5).

    An event that overlaps the next one in part ends where that begins.
    """
    cues = [
        f"{_time(start, '.')} --> {_time(end, '.')}\n{_escaped(text)}\n"
        for start, end, text in nested_or_disjoint(events)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def srt(events: Iterable[Cue]) -> str:
    """Return the events as SRT, in the order in which they begin."""
    cues = [
        f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{_line(text).replace('-->', '->')}\n"
        for number, (start, end, text) in enumerate(_visible(events), 1)
    ]
    return "\n".join(cues)


def nested_or_disjoint(events: Iterable[Cue]) -> list[Cue]:
    """Return the events in the order in which they begin, and those that overlap in part cut at the end."""
    cues: list[Cue] = []
    around: list[int] = []  # indices of the cues that the next one may lie in, the innermost last
    for start, end, text in _visible(events):
        while around:
            outer_start, outer_end, outer_text = cues[around[-1]]
            if end <= outer_end:
                break
            if outer_end > start:
                cues[around[-1]] = (outer_start, start, outer_text)
            around.pop()
        around.append(len(cues))
        cues.append((start, end, text))
    return [cue for cue in cues if cue[1] > cue[0]]


def _visible(events: Iterable[Cue]) -> list[Cue]:
    """Return the events on whole milliseconds, in the order in which they begin, the longer one first."""
    cues = [
        (round(max(0.0, start), 3), round(max(end, start + SHORTEST, SHORTEST), 3), text)
        for start, end, text in events
    ]
    return sorted(cues, key=lambda cue: (cue[0], -cue[1], cue[2]))


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _line(text: str) -> str:
    return " ".join(text.split()) or "-"


def _escaped(text: str) -> str:
    return _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
