"""The command `internvl3 eval stopping`, which measures accuracy, tokens and seconds with a stop rule."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.asking.address import DEFAULT_URL, Address, ApiKey, BaseUrl, Header, address_of
from ttscaling.asking.concurrency import SEEDS_APART, Concurrency
from ttscaling.asking.graders import Grader, Grading, grader, mode_of
from ttscaling.console import AsJson, CommandError, run_command
from ttscaling.evaluation.candidates import CandidatePlan, collect_candidates
from ttscaling.evaluation.question_sets import MediaFolder, QuestionsFile, load_questions
from ttscaling.evaluation.replay import choose_rule
from ttscaling.reports.markdown import write_block
from ttscaling.selection.stopping import StopRule

from .paired import PairedPlan, fields_of, measure, summary
from .tables import page_lines, print_report

ALLOWED_LOSS = 0.01  # A rule may be chosen if it surely loses at most this much accuracy.


def stopping(
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    questions: QuestionsFile = None,
    images: MediaFolder = None,
    grading: Grading = None,
    n_questions: Annotated[int, typer.Option(min=1, help="The number of questions to report on.")] = 300,
    n: Annotated[int, typer.Option(min=2, max=SEEDS_APART, help="The most candidates of a question.")] = 8,
    model: Annotated[
        str | None, typer.Option(help="The model's name. By default the server's own model.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="The sampling temperature. By default the server's.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
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
        int,
        typer.Option(
            min=0,
            help="The seed of sampling for those questions, and of nano's questions themselves; "
            "it must differ from --seed.",
        ),
    ] = 777,
    rollouts: Annotated[
        Path | None, typer.Option(help="Keep the candidates for choosing the rule in this file.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Compare Best-of-N with and without a stop rule: accuracy, tokens and seconds on the same questions.

    Every question is asked twice with one seed, so both requests have the same candidates. The rule
    (stop_score, stop_agreement) is chosen on other questions, those of your file or nano's. It is the rule
    that generates the fewest tokens of those that surely lose less than a point of accuracy there, which
    takes at least 300 questions. Seconds are those from a request to its reply, with --concurrency requests
    at a time:

        internvl3 eval stopping --questions mathvista.jsonl --n-questions 400 --choose-on 600 --json
    """

    try:
        option_rule = StopRule(score=stop_score, agreement=stop_agreement, max_parallel=max_parallel)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    sampling = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
    fields = {name: value for name, value in sampling.items() if value is not None}

    def report() -> dict[str, Any]:
        address = address_of(base_url, api_key, header)
        source, question_set = load_questions(questions, images, n_questions, seed)
        mode = mode_of(grading, questions)
        with grader(mode) as grade:
            rule, chosen_on = option_rule, dict[str, Any]()
            if stop_score is None and stop_agreement is None:
                if choose_seed == seed:
                    raise CommandError(
                        "--choose-seed equals --seed, but the rule must be chosen on other questions: "
                        "change --choose-seed"
                    )
                rule, chosen_on = asyncio.run(chosen_rule(address, grade))
            plan = PairedPlan(n=n, rule=rule, seed=seed, fields=fields)
            pairs = asyncio.run(measure(address, question_set, plan, grade, concurrency=concurrency))
        figures = summary(pairs, seed=seed) | {"n": n, "rule": fields_of(rule), "chosen_on": chosen_on}
        figures |= {"questions": source, "grading": mode, "concurrency": concurrency}
        if page:
            write_block(page, "stopping", page_lines(figures))
        return figures

    async def chosen_rule(address: Address, grade: Grader) -> tuple[StopRule, dict[str, Any]]:
        if questions is None:
            source, others = load_questions(None, None, choose_on, choose_seed)
        else:
            source, others = load_questions(questions, images, choose_on, seed, skip=n_questions)
        plan = CandidatePlan(
            num_candidates=n, beams=(), per_request=n, seed=choose_seed, include_greedy=True, fields=fields
        )
        candidates = await collect_candidates(
            address, others, plan, source=source, file=rollouts, concurrency=concurrency
        )
        chosen = await choose_rule(
            candidates,
            [question.answer for question in others],
            grade,
            max_parallel=max_parallel,
            allowed_loss=ALLOWED_LOSS,
            seed=choose_seed,
        )
        return chosen.rule, {
            "questions": source,
            "n_questions": len(others),
            "surely": chosen.surely,
            "adaptive": {"accuracy": chosen.adaptive.accuracy, "tokens": chosen.adaptive.tokens},
            "full": {"accuracy": chosen.full.accuracy, "tokens": chosen.full.tokens},
        }

    run_command(report, print_report, as_json)
