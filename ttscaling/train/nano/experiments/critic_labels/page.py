"""Write the critic ablation as a Markdown page with a plot."""

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

This is VisualPRM's ablation (arXiv 2503.10291, Table 4) on nano. The critics start from the same weights and
differ only in the labels of their second round, which takes {updates:,} updates. The page was written by

    {command}

There are {questions} questions about held-out drawings (seed {seed}), with eight candidates each. Candidate 0
is greedy and the other seven are sampled. All critics score the same candidates. The first table has no
critic, and the second shows Best-of-8 with each critic. The figures are right answers in %, with 95 %
intervals.

{baselines}

{best_of_8}

![Best-of-8 of each critic by each aggregation, as bars]({plot})

The next table shows how far Best-of-8 is ahead of majority, as a paired difference in points:

{over_majority}

The last table shows how well the critics find wrong steps, on a VisualProcessBench made of nano's answers to
the same questions. It has {solutions} solutions and {steps:,} steps. A step is marked right if it equals the
step of the written solution with the same number. A critic calls a step right if its score is above a
threshold, which was chosen for each critic on solutions about training drawings. The F1 scores are in %. The
last column shows by how many points Best-of-8 with `value` is ahead, with step scores aggregated by
{default}.

{process_bench}

{explained}

A fifth of the conversations hold single statements, whose labels are the same for all critics. The first
round has value labels, and it is the same for all critics too. `value` is the critic of `make nano`, and
`outcome` is its outcome reward model.
"""
EXPLAINED = {
    "value": "A step is labelled + if any of 16 continuations from it was right, and - otherwise.",
    "early-stop": "The labels are those of **value**, but a conversation ends at its first -.",
    "advantage": "A step is labelled +, = or - if the share of right continuations rises, stays the same or\n"
    "  falls. Its score is P(+) - P(-).",
    "outcome": "The whole solution is one step, and its label says whether its answer is right. It has one\n"
    "  score, so all aggregations agree. On the bench, a step has the score of the solution up to the step.\n"
    "  Nothing tells this critic which tokens of a wrong solution are wrong.",
}


def write_report(report: Mapping[str, Any], output: Path, *, command: str) -> None:
    """Write the report into OUTPUT.json, OUTPUT.md and OUTPUT.png; the ending of `output` is replaced."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output.with_suffix(".json"), report)
    plot(report, output.with_suffix(".png"))
    output.with_suffix(".md").write_text(page(report, plot=output.with_suffix(".png").name, command=command))


def page(report: Mapping[str, Any], *, plot: str, command: str) -> str:
    """Return the report as Markdown; `plot` is the address of the plot relative to the page."""
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
    columns = ("macro F1", "F1 of right steps", "F1 of wrong steps", "threshold", "value ahead by")
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
        process_bench="\n".join(table(["labels", *columns], process_bench)),
        explained="\n".join(
            f"- **{name}**: {text}" if name in critics else f"- {name} was not among the labels compared."
            for name, text in EXPLAINED.items()
        ),
    )


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw Best-of-8 by critic and aggregation as bars, and majority and pass@1 as lines."""
    critics = report["critics"]
    width = 0.8 / len(AGGREGATIONS)
    with drawing(path, 3.5 + 1.6 * len(critics), 4) as axes:
        for index, how in enumerate(AGGREGATIONS):
            entries = [entry["best_of_8"][how] for entry in critics.values()]
            means, lows, highs = ([entry[key] for entry in entries] for key in ("mean", "low", "high"))
            shift = (index - (len(AGGREGATIONS) - 1) / 2) * width
            positions = [critic + shift for critic in range(len(critics))]
            spread = [np.subtract(means, lows), np.subtract(highs, means)]
            axes.bar(positions, means, width, yerr=spread, label=how, error_kw={"lw": 0.8})
        for name, style in (("majority@8", "--"), ("pass@1", ":")):
            axes.axhline(report["baselines"][name]["mean"], color="black", linestyle=style, lw=1, label=name)
        axes.set_xticks(range(len(critics)), list(critics))
        axes.set_ylabel("Best-of-8, share right")
        lowest = min(entry["best_of_8"][how]["low"] for entry in critics.values() for how in AGGREGATIONS)
        axes.set_ylim(bottom=0.95 * min(lowest, report["baselines"]["pass@1"]["mean"]))
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
