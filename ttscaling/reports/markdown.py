"""Figures written into a page of documentation, between two comments that name them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ttscaling.console import CommandError


def write_block(path: Path, name: str, lines: Sequence[str]) -> None:
    """Puts lines in place of what stands between `<!-- NAME -->` and `<!-- end of NAME -->`.

    The page is made, or the block added at its end, where it isn't there yet. Raises EvaluationError for a
    block without an end.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text() if path.exists() else ""
    before, found, rest = page.partition(begin)
    if not found:
        before, after = (f"{page.rstrip()}\n\n" if page.strip() else ""), "\n"
    else:
        _, ended, after = rest.partition(end)
        if not ended:
            raise CommandError(f"{path} has {begin} but no {end}: add it where the block ends")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + "\n".join([begin, *lines, end]) + after)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, the first column to the left and the others to the right."""
    aligned = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, aligned, *rows)]


def interval(entry: Mapping[str, float], figure: str, *, scale: float = 100, sign: str = "") -> str:
    """A figure of a report with the interval beside it; shares are shown in %."""
    value, low, high = (f"{scale * entry[name]:{sign}.1f}" for name in (figure, "low", "high"))
    return f"{value} ({low} to {high})"
