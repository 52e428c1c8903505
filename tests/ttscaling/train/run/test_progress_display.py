"""The progress of a run: lines without a terminal, a bar on one."""

import io

from rich.console import Console

from ttscaling.train.run.progress_display import ProgressDisplay, RunLength


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(length: RunLength, *, steps: range, every: int, begin: int = 0, terminal: bool = False) -> str:
    """Return what is shown of steps of 2 seconds, 5 samples and 1,000 tokens each."""
    output, clock = io.StringIO(), Clock()
    console = Console(
        file=output, force_terminal=terminal, width=200, height=50, _environ={"TERM": "xterm-256color"}
    )
    with ProgressDisplay(title="sft", length=length, every=every, console=console, clock=clock) as display:
        display.begin(begin, 5 * begin, 1000 * begin)
        for step in steps:
            clock.now += 2
            display.step(step, {"loss": 1 / step, "samples": 5 * step, "tokens": 1000 * step})
    return output.getvalue()


def test_without_a_terminal_some_steps_have_a_line() -> None:
    lines = lines_of(RunLength(steps=60), steps=range(1, 61), every=20).splitlines()
    assert lines == [
        "sft  step 1 of 60  5 samples  loss 1  500 tokens/s  2.00 s/step  0:01:58 left",
        "sft  step 20 of 60  100 samples  loss 0.05  500 tokens/s  2.00 s/step  0:01:20 left",
        "sft  step 40 of 60  200 samples  loss 0.025  500 tokens/s  2.00 s/step  0:00:40 left",
        "sft  step 60 of 60  300 samples  loss 0.01667  500 tokens/s  2.00 s/step  0:00:00 left",
    ]


def test_a_run_by_epochs_has_a_time_that_is_left_too() -> None:
    """The number of steps isn't known, so the last step is shown when the run ends."""
    lines = lines_of(RunLength(samples=37), steps=range(1, 8), every=5).splitlines()
    assert lines[0].endswith("5 of 37 samples  loss 1  500 tokens/s  2.00 s/step  0:00:13 left")
    assert [line.split("  ")[1] for line in lines] == ["step 1", "step 5", "step 7"]


def test_a_resumed_run_counts_only_its_own_time() -> None:
    first, *_ = lines_of(RunLength(steps=60), steps=range(41, 61), every=20, begin=40).splitlines()
    assert first.endswith("500 tokens/s  2.00 s/step  0:00:38 left")


def test_on_a_terminal_there_is_a_bar() -> None:
    shown = lines_of(RunLength(steps=4), steps=range(1, 5), every=100, terminal=True)
    assert "100%" in shown and "step 4 of 4" in shown and "\x1b[" in shown


def test_a_long_line_is_not_wrapped() -> None:
    """A file has no width, even if the environment names one."""
    output = io.StringIO()
    display = ProgressDisplay(
        title="mpo", length=RunLength(steps=1), every=1, console=Console(file=output, width=20)
    )
    display.step(1, {"loss": 0.6931471, "preferred": 0.5, "gpu_memory_gb": 41.16, "samples": 2, "tokens": 9})
    assert output.getvalue().count("\n") == 1
    assert "loss 0.6931  preferred 0.5" in output.getvalue() and "41.2 GB on the GPU" in output.getvalue()
