"""The command `internvl3 eval curves`, which measures the accuracy of every method over N."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.asking.address import DEFAULT_URL, ApiKey, BaseUrl, Header, address_of
from ttscaling.asking.concurrency import SEEDS_APART, Concurrency
from ttscaling.asking.graders import Grading, grader, mode_of
from ttscaling.console import AsJson, run_command
from ttscaling.evaluation.candidates import CandidatePlan, collect_candidates
from ttscaling.evaluation.question_sets import MediaFolder, QuestionsFile, load_questions
from ttscaling.reports.markdown import write_block
from ttscaling.reports.plots import check_plot

from .figures import sizes_up_to, summary
from .plot import draw
from .tables import curve_lines, print_curves


def curves(
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    questions: QuestionsFile = None,
    images: MediaFolder = None,
    grading: Grading = None,
    n_questions: Annotated[int, typer.Option(min=1, help="The number of questions.")] = 300,
    max_n: Annotated[
        int, typer.Option(min=2, max=SEEDS_APART, help="The number of candidates of a question.")
    ] = 64,
    max_beam: Annotated[
        int | None,
        typer.Option(min=0, help="The largest n of a beam search; 0 for no beam search. By default --max-n."),
    ] = None,
    per_request: Annotated[
        int, typer.Option(min=2, help="The most candidates that one request asks for.")
    ] = 16,
    greedy: Annotated[
        bool,
        typer.Option(
            help="Make candidate 0 greedy, as the server does by default, or sample all candidates."
        ),
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="The model's name. By default the server's own model.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="The sampling temperature. By default the server's.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of questions, sampling, draws and bootstrap.")
    ] = 777,
    num_draws: Annotated[
        int,
        typer.Option(
            "--draws", min=1, help="The number of draws of N candidates that a figure is the mean of."
        ),
    ] = 100,
    rollouts: Annotated[
        Path | None,
        typer.Option(
            help="Keep the candidates in this file. A later run asks only for those that the file lacks."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the tables into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of Best-of-N, votes, beam search and the oracle for N = 1, 2, 4, ...

    Every question gets --max-n candidates once. The figures of a smaller N are means over draws of N of these
    candidates, so all curves use the same answers. A beam search has n = N and generates about as many tokens
    as N candidates. The intervals are 95 % intervals over questions:

        internvl3 eval curves --rollouts runs/rollouts.jsonl --plot curves.png --json
    """
    check_plot(plot)

    def report() -> dict[str, Any]:
        address = address_of(base_url, api_key, header)
        source, question_set = load_questions(questions, images, n_questions, seed)
        largest_beam = max_n if max_beam is None else max_beam
        sampling = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
        plan = CandidatePlan(
            num_candidates=max_n,
            beams=tuple(n for n in sizes_up_to(max_n) if 1 < n <= largest_beam),
            per_request=per_request,
            seed=seed,
            include_greedy=greedy,
            fields={name: value for name, value in sampling.items() if value is not None},
        )
        candidates = asyncio.run(
            collect_candidates(
                address, question_set, plan, source=source, file=rollouts, concurrency=concurrency
            )
        )
        mode = mode_of(grading, questions)
        with grader(mode) as grade:
            figures = summary(question_set, candidates, plan, grade, num_draws=num_draws)
        figures |= {"questions": source, "grading": mode}
        if plot:
            draw(figures, plot)
        if page:
            link = os.path.relpath(plot, page.parent) if plot else None
            write_block(page, "curves", curve_lines(figures, link))
        return figures

    run_command(report, print_curves, as_json)
