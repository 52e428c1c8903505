"""The log of a run: its file, and what a resumed run keeps of it."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from ttscaling.train.run.logs import Logs
from ttscaling.train.run.progress_display import ProgressDisplay, RunLength


def logs_in(folder: Path | None, output: io.StringIO) -> Logs:
    display = ProgressDisplay(title="sft", length=RunLength(steps=4), every=1, console=Console(file=output))
    return Logs(folder, display)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_removes_the_figures_of_later_steps(tmp_path: Path) -> None:
    with logs_in(tmp_path, io.StringIO()) as logs:
        logs.begin(0)
        for step in (1, 2, 3):
            logs.step(step, {"loss": 1 / step, "samples": step, "tokens": 10 * step})
            logs.heldout(step, {"loss": 2 / step})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as if the process was killed while it wrote
    with logs_in(tmp_path, io.StringIO()) as logs:
        logs.begin(2, samples=2, tokens=20)
        logs.heldout(2, {"loss": 0})  # The log has this evaluation already.
        logs.step(3, {"loss": 7, "samples": 3, "tokens": 30})
    rows = rows_in(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows if "loss" in row] == [(1, 1.0), (2, 0.5), (3, 7)]
    assert [(row["step"], row["eval/loss"]) for row in rows if "eval/loss" in row] == [(1, 2.0), (2, 1.0)]


def test_other_processes_write_and_show_nothing(tmp_path: Path) -> None:
    output = io.StringIO()
    with logs_in(None, output) as logs:
        logs.begin(0)
        logs.step(1, {"loss": 1, "samples": 1, "tokens": 1})
        logs.note("evaluating")
        logs.heldout(1, {"loss": 1})
    assert not output.getvalue()
    assert not list(tmp_path.iterdir())
