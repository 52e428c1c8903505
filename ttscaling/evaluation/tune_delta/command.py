"""`internvl3 tune-delta`: which V2PE delta answers best, and writing it where the server reads it."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from model.checkpoint.config_file import read_delta, write_delta
from model.v2pe import TRAINED_DELTAS, parse_delta
from ttscaling.asking.concurrency import Concurrency
from ttscaling.asking.graders import Grading, grader, mode_of
from ttscaling.asking.local_server import serving
from ttscaling.console import AsJson, CommandError, run_command
from ttscaling.evaluation.question_sets import MediaFolder, QuestionsFile, load_questions
from ttscaling.reports.markdown import write_block
from ttscaling.reports.plots import check_plot

from .figures import measure, own_delta, summary
from .plot import draw
from .tables import delta_lines, print_deltas

TRIED = ",".join(str(Fraction(delta)) for delta in TRAINED_DELTAS)


def tune_delta(
    base_url: Annotated[str | None, typer.Option(help="A running server's address.")] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="The checkpoint's folder: what --write changes, served here without --base-url."),
    ] = None,
    questions: QuestionsFile = None,
    images: MediaFolder = None,
    grading: Grading = None,
    n: Annotated[int, typer.Option(min=1, help="How many questions.")] = 300,
    deltas: Annotated[str, typer.Option(help="What is tried, with commas: numbers or fractions.")] = TRIED,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 1024,
    model: Annotated[str | None, typer.Option(help="Model name; else the server's own.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of nano's questions (not those of eval nano) and of the bootstrap.")
    ] = 1000,
    write: Annotated[
        bool, typer.Option("--write", help="Write the best into --policy's config.json, for later starts.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw accuracy over delta into this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Ask the same questions with every V2PE delta, greedily, and find the one that is right most often.

    Of deltas that are right equally often the largest wins: it is nearest to ordinary positions. A question
    that doesn't fit the window with a delta counts as wrong with it. The best is best on these questions:
    take others than those that you report.

        internvl3 tune-delta --policy InternVL3-8B --questions docvqa.jsonl --write

        internvl3 tune-delta --base-url http://127.0.0.1:8000 --plot deltas.png --json
    """
    check_plot(plot)

    def report() -> dict[str, Any]:
        tried = parsed(deltas)
        _check(base_url, policy, write=write)
        source, asked = load_questions(questions, images, n, seed)
        mode = mode_of(grading, questions)
        fields = {"max_tokens": max_tokens, **({} if model is None else {"model": model})}
        with _server(base_url, policy) as url, grader(mode) as judge:
            current = asyncio.run(own_delta(url, asked[0], fields))
            if write and policy is not None and current != read_delta(policy):
                raise CommandError(
                    f"the server takes {current:g} where a request names no delta, but {policy} says "
                    f"{read_delta(policy):g}: start the server on it, without a delta in --policy-args"
                )
            measured = asyncio.run(
                measure(url, asked, sorted({*tried, current}), fields, judge, concurrency=concurrency)
            )
        figures = summary(measured, current=current, seed=seed)
        figures |= {"questions": source, "grading": mode, "seed": seed, "written": None}
        if write and policy is not None:
            figures["written"] = str(write_delta(policy, figures["best"]))
        if plot:
            draw(figures, plot)
        if page:
            shown = os.path.relpath(plot, page.parent) if plot else None
            write_block(page, "tune-delta", delta_lines(figures, shown))
        return figures

    run_command(_told(report), print_deltas, as_json)


def _told(report: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The same, a folder that can't be used told in a sentence."""

    def told() -> dict[str, Any]:
        try:
            return report()
        except ValueError as error:
            raise CommandError(str(error)) from error

    return told


def parsed(text: str) -> tuple[float, ...]:
    """Deltas from "1,1/4,0.0625". Raises EvaluationError."""
    try:
        found = tuple(parse_delta(float(Fraction(part.strip()))) for part in text.split(","))
    except (ValueError, ZeroDivisionError) as error:
        raise CommandError(f"--deltas {text!r}: {error}; write numbers like 1,1/4,0.0625") from error
    return tuple(float(delta) for delta in found)


def _check(base_url: str | None, policy: Path | None, *, write: bool) -> None:
    if base_url is None and policy is None:
        raise CommandError("say what to measure: a running server's --base-url, or a checkpoint's --policy")
    if write and policy is None:
        raise CommandError("--write needs --policy: the folder of the checkpoint that the server runs on")
    if policy is not None:
        read_delta(policy)


@contextmanager
def _server(base_url: str | None, policy: Path | None) -> Iterator[str]:
    """The running server's address, or that of one on the checkpoint for the time of the block."""
    if base_url is not None:
        yield base_url
        return
    log = Path(tempfile.mkstemp(prefix="internvl3-tune-delta-", suffix=".log")[1])
    with serving(["--policy", str(policy), "--critic", "none"], log) as url:
        yield url
    log.unlink()
