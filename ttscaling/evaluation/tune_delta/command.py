"""The command `internvl3 tune-delta`, which finds the best V2PE delta and writes it into the checkpoint."""

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
from ttscaling.asking.address import ApiKey, Header, address_of
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

DEFAULT_DELTAS = ",".join(str(Fraction(delta)) for delta in TRAINED_DELTAS)


def tune_delta(
    base_url: Annotated[str | None, typer.Option(help="The address of a running server.")] = None,
    api_key: ApiKey = None,
    header: Header = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint's folder. --write changes it; without --base-url it is served here."
        ),
    ] = None,
    questions: QuestionsFile = None,
    images: MediaFolder = None,
    grading: Grading = None,
    n_questions: Annotated[int, typer.Option(min=1, help="The number of questions.")] = 300,
    deltas: Annotated[
        str, typer.Option(help="The deltas to measure: numbers or fractions, separated by commas.")
    ] = DEFAULT_DELTAS,
    max_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 1024,
    model: Annotated[
        str | None, typer.Option(help="The model's name. By default the server's own model.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, help="The seed of the questions (not those of eval nano) and of the bootstrap."),
    ] = 1000,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Write the best delta into --policy's config.json, where the server reads it at its start. "
            "Nothing is written unless that delta is surely better than the present one.",
        ),
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw accuracy over delta into this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the table into this Markdown page.")] = None,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Ask the same questions with every V2PE delta, greedily, and find the delta with the most right answers.

    If several deltas have the most right answers, the largest wins, because it is nearest to ordinary
    positions. A question that doesn't fit the window with a delta counts as wrong with that delta. A delta is
    surely better if the 95 % interval of its gain lies above 0. The best delta is chosen on these questions,
    so report figures on other questions:

        internvl3 tune-delta --policy InternVL3-8B --questions docvqa.jsonl --write

        internvl3 tune-delta --base-url http://127.0.0.1:8000 --plot deltas.png --json
    """
    check_plot(plot)

    def report() -> dict[str, Any]:
        delta_values = parsed(deltas)
        _check(base_url, policy, write=write)
        source, question_set = load_questions(questions, images, n_questions, seed)
        mode = mode_of(grading, questions)
        fields = {"max_tokens": max_tokens, **({} if model is None else {"model": model})}
        with _server(base_url, policy) as url, grader(mode) as grade:
            address = address_of(url, api_key, header)
            current = asyncio.run(own_delta(address, question_set[0], fields))
            if write and policy is not None and current != read_delta(policy):
                raise CommandError(
                    f"the server uses delta {current:g} by default, {policy} says {read_delta(policy):g}: "
                    "start the server on that checkpoint, without a delta in --policy-args"
                )
            accuracies = asyncio.run(
                measure(
                    address,
                    question_set,
                    sorted({*delta_values, current}),
                    fields,
                    grade,
                    concurrency=concurrency,
                )
            )
        figures = summary(accuracies, current=current, seed=seed)
        figures |= {"questions": source, "grading": mode, "seed": seed, "write": write, "written": None}
        if write and policy is not None and figures["surely_better"]:
            figures["written"] = str(write_delta(policy, figures["best"]))
        if plot:
            draw(figures, plot)
        if page:
            link = os.path.relpath(plot, page.parent) if plot else None
            write_block(page, "tune-delta", delta_lines(figures, link))
        return figures

    run_command(_with_command_errors(report), print_deltas, as_json)


def _with_command_errors(report: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return `report` with each ValueError, as of a folder that is no checkpoint, raised as CommandError."""

    def wrapped() -> dict[str, Any]:
        try:
            return report()
        except ValueError as error:
            raise CommandError(str(error)) from error

    return wrapped


def parsed(text: str) -> tuple[float, ...]:
    """Return the deltas of a text like "1,1/4,0.0625". Raises CommandError if it has another form."""
    try:
        numbers = tuple(parse_delta(float(Fraction(part.strip()))) for part in text.split(","))
    except (ValueError, ZeroDivisionError) as error:
        raise CommandError(f"--deltas {text!r}: {error}; write numbers like 1,1/4,0.0625") from error
    return tuple(float(delta) for delta in numbers)


def _check(base_url: str | None, policy: Path | None, *, write: bool) -> None:
    if base_url is None and policy is None:
        raise CommandError(
            "nothing to measure was named: give a running server's --base-url, or a checkpoint's --policy"
        )
    if write and policy is None:
        raise CommandError(
            "--write needs --policy: give the folder of the checkpoint that the server runs on"
        )
    if policy is not None:
        read_delta(policy)


@contextmanager
def _server(base_url: str | None, policy: Path | None) -> Iterator[str]:
    """Yield the running server's address, or start a server on the checkpoint and yield its address."""
    if base_url is not None:
        yield base_url
        return
    log = Path(tempfile.mkstemp(prefix="internvl3-tune-delta-", suffix=".log")[1])
    with serving(["--policy", str(policy), "--critic", "none"], log) as url:
        yield url
    log.unlink()
