"""The ablation of nano's critics as a page with a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ttscaling.reports.markdown import interval, table
from ttscaling.reports.plots import drawing
from ttscaling.train.nano.network.architecture import write_json

from .figures import AGGREGATIONS, BASELINES, DEFAULT

PAGE = """\
# Which labels serve a critic best

VisualPRM's ablation (arXiv 2503.10291, Table 4) on nano: critics that start from the same weights and differ
in nothing but the labels of their second round, {updates:,} updates each. Written by

    {command}

Best-of-8 on {questions} questions about held-out drawings (seed {seed}; candidate 0 greedy, seven sampled;
all critics score the same candidates), in %, with 95 % intervals.

{baselines}

{best_of_8}

![the same as bars]({plot})

The paired difference to majority, in points:

{over_majority}

Macro F1 on a VisualProcessBench of nano's: {solutions} solutions of those questions, {steps:,} steps, each
marked right if it is the written solution's at its place. A step is called right above a threshold that was
chosen for each critic on solutions of training drawings. Beside it Best-of-8 by {default}: how far `value` is
ahead, in points. All in %.

{process_bench}

{explained}
- The labels of single statements, a fifth of the conversations, are the same for all, and all start from a
  first round with value labels: what differs is the second round.
- **value** is the critic of `make nano`, **outcome** its outcome reward model.
"""
EXPLAINED = {
    "value": "+ where any of 16 continuations was right.",
    "early-stop": "the same, but a conversation ends at its first -.",
    "advantage": "+, = or - as the share of right continuations rises, stays or falls, read as P(+) - P(-).",
    "outcome": "the whole solution as one step, labelled by its answer. One score, so that all aggregations\n"
    "  agree; a step's is that of the solution up to there. Nothing tells which tokens are wrong.",
}


def write_report(report: Mapping[str, Any], output: Path, *, command: str) -> None:
    """OUTPUT.json, OUTPUT.md and OUTPUT.png."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output.with_suffix(".json"), report)
    plot(report, output.with_suffix(".png"))
    output.with_suffix(".md").write_text(page(report, plot=output.with_suffix(".png").name, command=command))


def page(report: Mapping[str, Any], *, plot: str, command: str) -> str:
    """The report in Markdown; `plot` is the image's address from there."""
    critics = report["critics"]
    bench = {name: entry["process_bench"] for name, entry in critics.items()}
    best_of_8 = [
        [name, *(interval(entry["best_of_8"][how], "mean") for how in AGGREGATIONS)]
        for name, entry in critics.items()
    ]
    over_majority = [
        [name, *(interval(entry["over_majority"][how], "mean", sign="+") for how in AGGREGATIONS)]
        for name, entry in critics.items()
    ]
    process_bench = [
        [
            name,
            *(interval(bench[name][figure], "mean") for figure in ("macro", "right", "wrong")),
            f"{bench[name]['threshold']:.2f}",
            "" if name == "value" else interval(entry["value_over_this"], "mean", sign="+"),
        ]
        for name, entry in critics.items()
    ]
    measured = ("macro F1", "F1 of right steps", "F1 of wrong steps", "threshold", "value ahead by")
    baselines = [interval(report["baselines"][name], "mean") for name in BASELINES]
    return PAGE.format(
        updates=report["updates"],
        command=command,
        questions=report["questions"],
        seed=report["seed"],
        baselines="\n".join(table(["without a critic", *BASELINES], [["", *baselines]])),
        best_of_8="\n".join(table(["labels", *AGGREGATIONS], best_of_8)),
        over_majority="\n".join(table(["labels", *AGGREGATIONS], over_majority)),
        plot=plot,
        solutions=bench["value"]["solutions"],
        steps=bench["value"]["steps"],
        default=DEFAULT,
        process_bench="\n".join(table(["labels", *measured], process_bench)),
        explained="\n".join(
            f"- **{name}**: {text}" if name in critics else f"- {name} was not among the labels compared."
            for name, text in EXPLAINED.items()
        ),
    )


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Best-of-8 of each critic by each aggregation as bars with intervals, majority and pass@1 as lines."""
    critics = report["critics"]
    width = 0.8 / len(AGGREGATIONS)
    with drawing(path, 3.5 + 1.6 * len(critics), 4) as axes:
        for index, how in enumerate(AGGREGATIONS):
            entries = [entry["best_of_8"][how] for entry in critics.values()]
            means, lows, highs = ([entry[key] for entry in entries] for key in ("mean", "low", "high"))
            places = [place + (index - (len(AGGREGATIONS) - 1) / 2) * width for place in range(len(critics))]
            spread = [np.subtract(means, lows), np.subtract(highs, means)]
            axes.bar(places, means, width, yerr=spread, label=how, error_kw={"lw": 0.8})
        for name, style in (("majority@8", "--"), ("pass@1", ":")):
            axes.axhline(report["baselines"][name]["mean"], color="black", linestyle=style, lw=1, label=name)
        axes.set_xticks(range(len(critics)), list(critics))
        axes.set_ylabel("Best-of-8, share right")
        lowest = min(entry["best_of_8"][how]["low"] for entry in critics.values() for how in AGGREGATIONS)
        axes.set_ylim(bottom=0.95 * min(lowest, report["baselines"]["pass@1"]["mean"]))
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
