"""Measure training steps of MPO and of a critic beside TRL's trainers (`internvl3 bench training`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from bench.harness.contest import Sample, System, measure
from bench.harness.gpu import bf16_peak
from bench.harness.output import JsonOption, PlotOption, print_report, progress
from bench.harness.peer_packages import install_peers, peers_folder
from bench.harness.report import Report, ratio, versions, worst_case
from ttscaling.reports.plots import check_plot

from .material import Kind, Size, write_material

OURS, GIVEN, TRL = "ours", "ours, references given", "TRL"
LOCK = "bench-training"
PEERS_FOLDER = peers_folder(LOCK)
PACKAGES = ("trl", "transformers", "accelerate", "datasets", "torch")
CASES: Mapping[Kind, str] = {"mpo": "MPO (DPOTrainer)", "critic": "critic (SFTTrainer)"}
PACK_TOKENS: Mapping[Size, int] = {"nano": 2048, "1B": 12288}
MICRO_BATCH: Mapping[Size, int] = {"nano": 8, "1B": 2}  # The rows of one forward pass of TRL's.


def training(
    size: Annotated[
        Size, typer.Option(help="nano, or a model of InternVL3-1B's size with random weights.")
    ] = "nano",
    batch: Annotated[
        int, typer.Option(min=1, help="Samples of an optimiser step: a multiple of 8, for 1B of 2.")
    ] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps in a turn.")] = 8,
    repeats: Annotated[
        int, typer.Option(min=1, help="Turns of every system; the figures are their medians.")
    ] = 5,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure speed and memory of training steps beside TRL's DPOTrainer (as MPO) and SFTTrainer.

    All systems get the same weights, images, texts and batches. They compute in fp32 on one CPU thread, or on
    a GPU in bf16 with recomputed activations. Our time includes the reference's pass over the data, and TRL's
    includes its reference model. Reading the data is not measured. A peer that supervises other positions
    than ours counts as failed. TRL is installed into runs/bench-training-peers on first use.
    """
    check_plot(plot)
    if batch % MICRO_BATCH[size]:
        message = f"{batch} samples don't fill TRL's micro-batches: choose a multiple of {MICRO_BATCH[size]}"
        raise typer.BadParameter(message, param_hint="--batch")
    console = Console(stderr=True)
    path = (install_peers(console, LOCK),)
    ours = System(OURS, "bench.training.systems:Ours")
    steps_alone = System(GIVEN, "bench.training.systems:OursReferencesGiven")
    trl = System(TRL, "bench.training.trl:Trl", path)
    lineups: Mapping[Kind, list[System]] = {"mpo": [ours, steps_alone, trl], "critic": [ours, trl]}
    samples: list[Sample] = []
    failures: dict[str, str] = {}
    with TemporaryDirectory() as name, progress(console) as bar:
        write_material(Path(name), size, batch * steps)
        task = bar.add_task("training", total=repeats * sum(map(len, lineups.values())))
        for kind, systems in lineups.items():
            case = {
                "kind": kind,
                "folder": name,
                "batch": batch,
                "steps": steps,
                "pack_tokens": PACK_TOKENS[size],
                "micro_batch": MICRO_BATCH[size],
            }
            found, failed = measure(
                systems, {CASES[kind]: case}, repeats=repeats, fresh=True, on_turn=lambda: bar.advance(task)
            )
            samples += found
            failures |= failed | unlike(found)
    figure = "wall_seconds" if torch.cuda.is_available() else "cpu_seconds"
    alike = [sample for sample in samples if sample.system not in failures]
    ratios = {case: ratio(alike, case, ours=OURS, peers=(TRL,), figure=figure) for case in CASES.values()}
    worst, worst_ratio = ("", None) if None in ratios.values() else worst_case(ratios)
    print_report(
        Report(
            bench="training",
            ratio=worst_ratio,
            ratio_of=f"{figure.replace('_', ' ')} of TRL's trainer over ours, in the worse case: {worst}",
            column="samples_per_s",
            rows=rows(samples, ratios, figure, batch * steps),
            versions=versions(PACKAGES, path),
            failures=failures,
            notes=(
                f"{size}: {steps} steps of {batch} samples a turn. Seconds are {figure.split('_')[0]} time.",
                "We compute MPO's references before the steps. Their time counts, but not in the second row.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def unlike(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the systems that supervise another number of positions than ours, with the reason of failure."""
    supervised = {s.system: s.result["supervised"] for s in samples if s.result is not None}
    return {
        system: f"it supervises {number} positions and ours {supervised[OURS]}, so it does other work"
        for system, number in supervised.items()
        if number != supervised.get(OURS, number)
    }


def rows(
    samples: Sequence[Sample], ratios: Mapping[str, float | None], figure: str, num_samples: int
) -> list[dict[str, Any]]:
    """Return a row for each system and case.

    On a GPU the memory is the GPU's, and `bf16_share` is the part of the card's bf16 operations per second
    that was reached.
    """
    table = []
    for case, system in dict.fromkeys((sample.case, sample.system) for sample in samples):
        own = [sample for sample in samples if (sample.case, sample.system) == (case, system)]
        seconds = median(getattr(sample, figure) for sample in own)
        result = next(sample.result for sample in own if sample.result is not None)
        row = {
            "case": case,
            "system": system,
            "samples_per_s": num_samples / seconds,
            "added_mib": result.get("gpu_mib", median(sample.grown_mib for sample in own)),
            "ratio": ratios.get(case) if system == OURS else None,
        }
        if "flops" in result:
            peak = bf16_peak(result["gpu"])
            row["bf16_share"] = result["flops"] / seconds / peak if peak else None
        table.append(row)
    return table
