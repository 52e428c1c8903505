from pathlib import Path

import pytest
import typer
from matplotlib import pyplot as plt

from ttscaling.console import CommandError
from ttscaling.reports.plots import check_plot, drawing


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_plot_is_written_to_its_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"plot{suffix}"
    check_plot(path)
    with drawing(path, 4, 3, ncols=2) as (left, right):
        left.plot([1, 2], [3, 4])
        right.plot([1, 2], [4, 3])
    assert path.stat().st_size > 1000 and not left.spines["top"].get_visible()
    assert not plt.get_fignums(), "the figure is closed, because an open one stays in memory"


def test_a_suffix_that_is_no_plot_format_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=r"plot\.txt must end in \.png"):
        check_plot(Path("plot.txt"))


def test_a_path_that_cannot_be_written_raises_a_command_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CommandError, match="the plot can't be written"),
        drawing(tmp_path / "file" / "a.png", 4, 3),
    ):
        pass
