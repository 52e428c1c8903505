"""Draw a plot with matplotlib into a file, without a display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ttscaling.console import CommandError

PLOT_FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path | None) -> None:
    """Raise typer.BadParameter, before a command measures, if `path` has the suffix of no plot format."""
    if path and path.suffix not in PLOT_FORMATS:
        raise typer.BadParameter(f"{path} must end in {', '.join(PLOT_FORMATS)}", param_hint="--plot")


@contextmanager
def drawing(path: Path, width: float, height: float, **layout: Any) -> Iterator[Any]:
    """Yield axes to draw on, and write the plot to `path` at the end of the block.

    The suffix of `path` selects the format. `width` and `height` are in inches. `layout` goes to matplotlib's
    `subplots`; with `ncols`, for example, several axes are yielded. Raises CommandError if the file can't be
    written.
    """
    import matplotlib  # The import takes a second, and few commands draw.

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, subplots = plt.subplots(figsize=(width, height), layout="constrained", **layout)
    try:
        yield subplots
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        except (OSError, ValueError) as error:
            raise CommandError(f"the plot can't be written ({error}): choose another --plot") from error
    finally:
        plt.close(figure)
