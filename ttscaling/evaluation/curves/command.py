"""`internvl3 eval curves`: accuracy over N of every way to choose, from one set of candidates."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.asking.client import DEFAULT_URL, BaseUrl
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
    questions: QuestionsFile = None,
    images: MediaFolder = None,
    grading: Grading = None,
    n_questions: Annotated[int, typer.Option(min=1, help="How many questions.")] = 300,
    max_n: Annotated[int, typer.Option(min=2, max=SEEDS_APART, help="Candidates of a question.")] = 64,
    max_beam: Annotated[
        int | None, typer.Option(min=0, help="The largest n of a beam search, 0 for none; else --max-n.")
    ] = None,
    per_request: Annotated[int, typer.Option(min=2, help="Most candidates asked for by one request.")] = 16,
    greedy: Annotated[
        bool, typer.Option(help="Candidate 0 is greedy, as the server does it; else all are sampled.")
    ] = True,
    model: Annotated[str | None, typer.Option(help="Model name; else the server's own.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sampling; else the server's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of questions, sampling, draws and bootstrap.")] = 777,
    num_draws: Annotated[
        int, typer.Option("--draws", min=1, help="Draws of N candidates that a figure is the mean of.")
    ] = 100,
    rollouts: Annotated[
        Path | None,
        typer.Option(help="Keep the candidates in this file; a second run asks only for what it lacks."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the tables into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Accuracy for N = 1, 2, 4, ..: critic Best-of-N with every aggregation, votes, beam search, oracle.

    Every question is sampled --max-n times, once; the figures of smaller N are means over draws of N of these
    candidates, so all curves stand on the same answers. Beam searches are asked for with n = N, which costs
    about the tokens of N candidates. What is shown are 95 % intervals over questions:

        internvl3 eval curves --rollouts runs/rollouts.jsonl --plot curves.png --json
    """
    check_plot(plot)

    def report() -> dict[str, Any]:
        source, asked = load_questions(questions, images, n_questions, seed)
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
        gathered = asyncio.run(
            collect_candidates(base_url, asked, plan, source=source, kept=rollouts, concurrency=concurrency)
        )
        mode = mode_of(grading, questions)
        with grader(mode) as judge:
            figures = summary(asked, gathered, plan, judge, num_draws=num_draws)
        figures |= {"questions": source, "grading": mode}
        if plot:
            draw(figures, plot)
        if page:
            shown = os.path.relpath(plot, page.parent) if plot else None
            write_block(page, "curves", curve_lines(figures, shown))
        return figures

    run_command(report, print_curves, as_json)
