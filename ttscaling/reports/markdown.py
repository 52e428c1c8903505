"""Write the figures of a measurement as Markdown into a marked block of a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ttscaling.console import CommandError


def write_block(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replace the lines between `<!-- NAME -->` and `<!-- end of NAME -->` in the page at `path`.

    A page that doesn't exist is created; a missing block is added at the end of the page. Raises CommandError
    if the block has no end.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text() if path.exists() else ""
    before, begin_found, from_block = page.partition(begin)
    if not begin_found:
        before, after = (f"{page.rstrip()}\n\n" if page.strip() else ""), "\n"
    else:
        _, end_found, after = from_block.partition(end)
        if not end_found:
            raise CommandError(f"{path} has {begin} but no {end}: write {end} where the block ends")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + "\n".join([begin, *lines, end]) + after)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, its first column left-aligned and the others right-aligned."""
    aligned = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, aligned, *rows)]


def interval(
    entry: Mapping[str, float], figure: str, *, scale: float = 100, sign: str = "", digits: int = 1
) -> str:
    """Return a figure of a report with its interval as text, such as "81.0 (76.3 to 85.3)".

    The values are multiplied by `scale`: 100 shows shares in %. `sign` "+" shows the sign of positive values.
    There are so many `digits` after the point.
    """
    value, low, high = (f"{scale * entry[name]:{sign}.{digits}f}" for name in (figure, "low", "high"))
    return f"{value} ({low} to {high})"
