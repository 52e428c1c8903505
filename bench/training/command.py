"""`internvl3 bench training`: steps of MPO and of critic training, ours beside TRL's trainers."""

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
MICRO_BATCH: Mapping[Size, int] = {"nano": 8, "1B": 2}  # TRL's rows of a forward pass


def training(
    size: Annotated[Size, typer.Option(help="nano's weights, or InternVL3-1B's sizes at random.")] = "nano",
    batch: Annotated[int, typer.Option(min=1, help="Samples of an optimiser step, a multiple of 8.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps a turn.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of every system; figures are medians.")] = 5,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Samples a second and memory of training steps, ours beside TRL's DPOTrainer (as MPO) and SFTTrainer.

    Same weights, images, texts and batch for all, fp32 on one CPU thread, or bf16 with recomputed activations
    on a GPU. Ours includes the reference's pass over the data, TRL's its reference model; reading the data is
    not measured. A peer that supervises other positions than we do counts as failed. TRL is installed into
    runs/bench-training-peers on first use.
    """
    check_plot(plot)
    if batch % MICRO_BATCH[size]:
        raise typer.BadParameter(f"make it a multiple of {MICRO_BATCH[size]}", param_hint="--batch")
    console = Console(stderr=True)
    path = (install_peers(console, LOCK),)
    ours = System(OURS, "bench.training.systems:Ours")
    given = System(GIVEN, "bench.training.systems:OursReferencesGiven")
    trl = System(TRL, "bench.training.trl:Trl", path)
    lineups: Mapping[Kind, list[System]] = {"mpo": [ours, given, trl], "critic": [ours, trl]}
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
            ratio_of=f"{figure.replace('_', ' ')} of TRL's trainer over ours; the worse of the two, {worst}",
            column="samples_per_s",
            rows=rows(samples, ratios, figure, batch * steps),
            versions=versions(PACKAGES, path),
            failures=failures,
            notes=(
                f"{size}: {steps} steps of {batch} samples a turn; seconds are {figure.split('_')[0]} time.",
                "Ours computes MPO's references before the steps, and that is counted but in the second row.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def unlike(samples: Sequence[Sample]) -> dict[str, str]:
    """Systems that supervise other numbers of positions than we do, and how many."""
    found = {s.system: s.result["supervised"] for s in samples if s.result is not None}
    return {
        system: f"it supervises {number} positions, we {found[OURS]}: that is other work"
        for system, number in found.items()
        if number != found.get(OURS, number)
    }


def rows(
    samples: Sequence[Sample], ratios: Mapping[str, float | None], figure: str, num_samples: int
) -> list[dict[str, Any]]:
    """A row for each system and case. On a GPU memory is the GPU's, and there is its share of bf16's peak."""
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
