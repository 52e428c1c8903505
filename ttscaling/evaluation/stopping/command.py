"""The command `internvl3 eval stopping`, which measures the tokens and the accuracy with a stop rule."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ttscaling.asking.client import DEFAULT_URL, BaseUrl
from ttscaling.asking.concurrency import SEEDS_APART, Concurrency
from ttscaling.asking.graders import Grader, grader
from ttscaling.console import AsJson, CommandError, run_command
from ttscaling.evaluation.candidates import CandidatePlan, collect_candidates
from ttscaling.evaluation.question_sets import load_questions
from ttscaling.evaluation.replay import choose_rule
from ttscaling.reports.markdown import interval, table, write_block
from ttscaling.selection.stopping import StopRule

from .paired import fields_of, measure, summary

ALLOWED_LOSS = 0.01  # A rule may be chosen if it surely loses at most this much accuracy.


def stopping(
    base_url: BaseUrl = DEFAULT_URL,
    n_questions: Annotated[
        int, typer.Option(min=1, help="The number of held-out questions to report on.")
    ] = 300,
    n: Annotated[int, typer.Option(min=2, max=SEEDS_APART, help="The most candidates of a question.")] = 8,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of these questions, of sampling and of the bootstrap.")
    ] = 2718,
    stop_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The rule's score. Without a rule the command chooses one."),
    ] = None,
    stop_agreement: Annotated[
        float | None, typer.Option(help="The rule's agreement, above 0.5 and below 1.")
    ] = None,
    max_parallel: Annotated[
        int | None,
        typer.Option(min=1, help="The most candidates written at the same time. By default the server's."),
    ] = None,
    choose_on: Annotated[
        int, typer.Option(min=1, help="The number of other questions to choose the rule on.")
    ] = 1200,
    choose_seed: Annotated[
        int, typer.Option(min=0, help="The seed of those questions; it must differ from --seed.")
    ] = 777,
    rollouts: Annotated[
        Path | None, typer.Option(help="Keep the candidates for choosing the rule in this file.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Compare Best-of-N with and without a stop rule: accuracy and generated tokens on the same questions.

    Every held-out question is asked twice with one seed, so both requests have the same candidates. The rule
    (stop_score, stop_agreement) is chosen on other questions. It is the rule that generates the fewest tokens
    of those that surely lose less than a point of accuracy there.
    """

    try:
        option_rule = StopRule(score=stop_score, agreement=stop_agreement, max_parallel=max_parallel)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    def report() -> dict[str, Any]:
        with grader("exact") as grade:
            rule, chosen_on = option_rule, dict[str, Any]()
            if stop_score is None and stop_agreement is None:
                if choose_seed == seed:
                    raise CommandError(
                        "--choose-seed equals --seed, but the rule must be chosen on other questions: "
                        "change --choose-seed"
                    )
                rule, chosen_on = asyncio.run(chosen_rule(grade))
            pairs = asyncio.run(measure(base_url, n_questions, n, rule, grade, seed, concurrency))
        figures = summary(pairs, seed=seed) | {"n": n, "rule": fields_of(rule), "chosen_on": chosen_on}
        if page:
            write_block(page, "stopping", page_lines(figures))
        return figures

    async def chosen_rule(grade: Grader) -> tuple[StopRule, dict[str, Any]]:
        source, questions = load_questions(None, None, choose_on, choose_seed)
        plan = CandidatePlan(
            num_candidates=n, beams=(), per_request=n, seed=choose_seed, include_greedy=True, fields={}
        )
        candidates = await collect_candidates(
            base_url, questions, plan, source=source, file=rollouts, concurrency=concurrency
        )
        answers = [question.answer for question in questions]
        rule, adaptive, full = await choose_rule(
            candidates, answers, grade, max_parallel=max_parallel, allowed_loss=ALLOWED_LOSS, seed=choose_seed
        )
        return rule, {
            "questions": source,
            "n_questions": choose_on,
            "adaptive": {"accuracy": adaptive.accuracy, "tokens": adaptive.tokens},
            "full": {"accuracy": full.accuracy, "tokens": full.tokens},
        }

    run_command(report, print_report, as_json)


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the report as a table."""
    header, rows = cells(report)
    view = Table(*header)
    for row in rows:
        view.add_row(*row)
    for column in view.columns[1:]:
        column.justify = "right"
    console.print(caption(report), soft_wrap=True)
    console.print(view)


def page_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines of Markdown."""
    return [caption(report), "", *table(*cells(report))]


def caption(report: Mapping[str, Any]) -> str:
    """Return sentences that say what was measured."""
    rule = ", ".join(f"{name} {value:g}" for name, value in report["rule"].items()) or "none"
    others = report["chosen_on"]
    origin = f", chosen on {others['n_questions']} other questions ({others['questions']})" if others else ""
    stopped = {reason: count for reason, count in report["stopped"].items() if reason != "not"}
    reasons = "".join(f", {count} by {reason}" for reason, count in stopped.items())
    return (
        f"Best-of-{report['n']} on {report['n_questions']} held-out questions (seed {report['seed']}). The "
        f"stop rule is {rule}{origin}. It stopped {sum(stopped.values())} questions{reasons}. Accuracy is in "
        "%, its difference in points, with 95 % intervals."
    )


def cells(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table."""
    rows = [
        [
            title,
            interval(report[name]["accuracy"], "accuracy"),
            interval(report[name]["tokens"], "tokens", scale=1),
        ]
        for name, title in (("full", "all candidates"), ("adaptive", "adaptive"))
    ]
    saved = {name: -value for name, value in report["saved"].items()}
    saved["low"], saved["high"] = saved["high"], saved["low"]
    differences = [
        interval(report["difference"], "difference", sign="+"),
        f"{interval(saved, 'share', sign='+')} %",
    ]
    return ["", "accuracy", "tokens a question"], [*rows, ["difference", *differences]]
