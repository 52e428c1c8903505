from pathlib import Path

import pytest
import typer
from matplotlib import pyplot as plt

from ttscaling.console import CommandError
from ttscaling.reports.plots import check_plot, drawing


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_what_is_drawn_is_in_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "made" / f"plot{suffix}"
    check_plot(path)
    with drawing(path, 4, 3, ncols=2) as (left, right):
        left.plot([1, 2], [3, 4])
        right.plot([1, 2], [4, 3])
    assert path.stat().st_size > 1000 and not left.spines["top"].get_visible()
    assert not plt.get_fignums(), "a figure that stays open stays in memory"


def test_a_plot_that_cannot_be_drawn_is_refused_at_once() -> None:
    with pytest.raises(typer.BadParameter, match=r"plot\.txt must end in \.png"):
        check_plot(Path("plot.txt"))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CommandError, match="the plot can't be written"),
        drawing(tmp_path / "file" / "a.png", 4, 3),
    ):
        pass
