"""The table of an answer's candidates, with the critic's P(+) for every step."""

from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clients.sdk.completions import Candidate, ScalingReport, Vote

from .printable import printable, printable_line


def candidates_view(scaling: ScalingReport) -> RenderableType:
    """Return the table of all candidates, best first and the chosen one marked.

    Above it stands how the answer was chosen, and below it the final answers with their candidates, and what
    failed, if anything did.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("candidate", no_wrap=True)
    for heading in ("score", "P(+)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("step", overflow="fold")
    for candidate in sorted(scaling.candidates, key=lambda candidate: _rank(candidate, scaling.selected)):
        chosen = candidate.index == scaling.selected
        heading_cells = _name(candidate, chosen=chosen), _number(candidate.score)
        for score, step in _scored_steps(candidate):
            style = "bold green" if chosen else None
            table.add_row(*heading_cells, _number(score), printable(step), style=style)
            heading_cells = "", ""
        table.add_row()
    summary = printable_line(_summary(scaling))
    summary.stylize("dim")
    parts: list[RenderableType] = [summary, Text(), table]
    if scaling.votes:
        parts.append(Text("Final answers: ") + Text("; ").join(map(_vote, scaling.votes)))
    if scaling.degraded:
        problem = printable_line(f"Not everything succeeded: {scaling.degraded}")
        problem.stylize("yellow")
        parts.append(problem)
    return Group(*parts)


def _summary(scaling: ScalingReport) -> str:
    critic = f", scored by {scaling.critic} ({scaling.aggregation} of the steps)" if scaling.critic else ""
    stopped = f", stopped by {scaling.stopped}" if scaling.stopped else ""
    return f"{scaling.method}: {len(scaling.candidates)} candidates{critic}{stopped}"


def _vote(vote: Vote) -> Text:
    noun = "candidate" if len(vote.candidates) == 1 else "candidates"
    score = "" if vote.score is None else f", scores add up to {vote.score:.3f}"
    return printable(f"{vote.answer} ({noun} {', '.join(map(str, vote.candidates))}{score})")


def _rank(candidate: Candidate, selected: int) -> tuple[bool, float, int]:
    return candidate.index != selected, -(candidate.score or 0.0), candidate.index


def _scored_steps(candidate: Candidate) -> list[tuple[float | None, str]]:
    """Return the steps with their scores; a candidate without scores is one step, its text."""
    if candidate.steps is None or candidate.step_scores is None:
        return [(None, candidate.text or "")]
    pairs = zip_longest(candidate.step_scores, candidate.steps)  # equally many, from this server
    return [(score, step or "") for score, step in pairs]


def _name(candidate: Candidate, *, chosen: bool) -> str:
    marks = ["chosen"] if chosen else []
    if candidate.finish_reason == "length":
        marks.append("cut off")
    return f"{candidate.index} ({', '.join(marks)})" if marks else str(candidate.index)


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
