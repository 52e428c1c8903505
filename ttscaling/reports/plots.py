"""The frame of a plot: no display, axes to draw on, and a file in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ttscaling.console import CommandError

PLOT_FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path | None) -> None:
    """Refuses what couldn't be drawn into, before anything is measured."""
    if path and path.suffix not in PLOT_FORMATS:
        raise typer.BadParameter(f"{path} must end in {', '.join(PLOT_FORMATS)}", param_hint="--plot")


@contextmanager
def drawing(path: Path, width: float, height: float, **layout: Any) -> Iterator[Any]:
    """Axes to draw on, several with `ncols` and what else matplotlib's `subplots` takes; then the file.

    The path's ending says the format, `width` and `height` are inches. Raises EvaluationError if it can't be
    written.
    """
    import matplotlib  # takes a second

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, drawn = plt.subplots(figsize=(width, height), layout="constrained", **layout)
    try:
        yield drawn
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        except (OSError, ValueError) as error:
            raise CommandError(f"the plot can't be written: {error}") from error
    finally:
        plt.close(figure)
