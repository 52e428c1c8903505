"""`internvl3 eval stopping`: what adaptive stopping saves, and what it costs in accuracy."""

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

ALLOWED_LOSS = 0.01  # of accuracy, that a rule surely doesn't exceed on the questions that it is chosen on


def stopping(
    base_url: BaseUrl = DEFAULT_URL,
    n_questions: Annotated[int, typer.Option(min=1, help="Held-out questions that are reported on.")] = 300,
    n: Annotated[int, typer.Option(min=2, max=SEEDS_APART, help="Most candidates of a question.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of these questions, sampling and bootstrap.")] = 2718,
    stop_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="The rule; without any it is chosen.")
    ] = None,
    stop_agreement: Annotated[float | None, typer.Option(help="The rule's agreement, 0.5 to 1.")] = None,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Candidates in flight at once; else as the server does it.")
    ] = None,
    choose_on: Annotated[int, typer.Option(min=1, help="Other questions that the rule is chosen on.")] = 1200,
    choose_seed: Annotated[int, typer.Option(min=0, help="Of those; not --seed.")] = 777,
    rollouts: Annotated[
        Path | None, typer.Option(help="Keep the candidates that the rule is chosen on in this file.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Accuracy and generated tokens of Best-of-N with and without adaptive stopping, on the same questions.

    Every held-out question is asked twice with one seed, so both choose among the same candidates. The rule
    (stop_score, stop_agreement) is chosen on other questions: of those that surely lose less than a point
    there, the one that generates least.
    """

    try:
        given = StopRule(score=stop_score, agreement=stop_agreement, max_parallel=max_parallel)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    def report() -> dict[str, Any]:
        with grader("exact") as judge:
            rule, chosen = given, dict[str, Any]()
            if stop_score is None and stop_agreement is None:
                if choose_seed == seed:
                    raise CommandError("the rule must be chosen on other questions: change --choose-seed")
                rule, chosen = asyncio.run(chosen_rule(judge))
            answered = asyncio.run(measure(base_url, n_questions, n, rule, judge, seed, concurrency))
        figures = summary(answered, seed=seed) | {"n": n, "rule": fields_of(rule), "chosen_on": chosen}
        if page:
            write_block(page, "stopping", page_lines(figures))
        return figures

    async def chosen_rule(judge: Grader) -> tuple[StopRule, dict[str, Any]]:
        source, questions = load_questions(None, None, choose_on, choose_seed)
        plan = CandidatePlan(
            num_candidates=n, beams=(), per_request=n, seed=choose_seed, include_greedy=True, fields={}
        )
        gathered = await collect_candidates(
            base_url, questions, plan, source=source, kept=rollouts, concurrency=concurrency
        )
        known = [question.answer for question in questions]
        rule, adaptive, full = await choose_rule(
            gathered, known, judge, max_parallel=max_parallel, allowed_loss=ALLOWED_LOSS, seed=choose_seed
        )
        return rule, {
            "questions": source,
            "n_questions": choose_on,
            "adaptive": {"accuracy": adaptive.accuracy, "tokens": adaptive.tokens},
            "full": {"accuracy": full.accuracy, "tokens": full.tokens},
        }

    run_command(report, print_report, as_json)


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """A table for a person."""
    header, rows = cells(report)
    shown = Table(*header)
    for row in rows:
        shown.add_row(*row)
    for column in shown.columns[1:]:
        column.justify = "right"
    console.print(caption(report), soft_wrap=True)
    console.print(shown)


def page_lines(report: Mapping[str, Any]) -> list[str]:
    """The same as lines of Markdown."""
    return [caption(report), "", *table(*cells(report))]


def caption(report: Mapping[str, Any]) -> str:
    """What the figures stand on."""
    rule = ", ".join(f"{name} {value:g}" for name, value in report["rule"].items()) or "none"
    on = report["chosen_on"]
    chosen = f", chosen on {on['n_questions']} others ({on['questions']})" if on else ""
    stopped = ", ".join(f"{reason} {count}" for reason, count in report["stopped"].items())
    return (
        f"{report['n_questions']} held-out questions (seed {report['seed']}), Best-of-{report['n']}; "
        f"rule: {rule}{chosen}. Stopped by: {stopped}. In % and points, with 95 % intervals."
    )


def cells(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    rows = [
        [
            shown,
            interval(report[name]["accuracy"], "accuracy"),
            interval(report[name]["tokens"], "tokens", scale=1),
        ]
        for name, shown in (("full", "all candidates"), ("adaptive", "adaptive"))
    ]
    saved = {name: -value for name, value in report["saved"].items()}
    saved["low"], saved["high"] = saved["high"], saved["low"]
    apart = [
        interval(report["difference"], "difference", sign="+"),
        f"{interval(saved, 'share', sign='+')} %",
    ]
    return ["", "accuracy", "tokens a question"], [*rows, ["difference", *apart]]
