"""The command `internvl3 train rollouts`, which makes training data with a running server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ttscaling.asking.address import DEFAULT_URL, ApiKey, BaseUrl, Header, address_of
from ttscaling.asking.concurrency import Concurrency
from ttscaling.console import AsJson, CommandError, run_command


def rollouts(
    questions: Annotated[
        Path, typer.Option(help="JSONL file with image or video, question and answer, or with conversations.")
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder for replies and data. If it holds replies already, the run continues."),
    ],
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    model: Annotated[str | None, typer.Option(help="Name of the model, if the server needs one.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that media paths are relative to. By default the questions' folder."),
    ] = None,
    instruction: Annotated[
        str,
        typer.Option(
            help="Prompt with {question} in it, for example with a request to write steps as paragraphs."
        ),
    ] = "{question}",
    solutions: Annotated[
        int,
        typer.Option(min=1, help="Solutions of each question. The published number is 4, and 32 for pairs."),
    ] = 4,
    continuations: Annotated[
        int, typer.Option(min=0, help="Continuations from each step. With 0 only pairs are made.")
    ] = 16,
    blind: Annotated[
        int,
        typer.Option(
            min=0, help="Right solutions of a question that are continued without the image (DropoutNTP)."
        ),
    ] = 1,
    max_steps: Annotated[
        int,
        typer.Option(
            min=1, help="Most steps of a solution. Neighbouring steps are merged until it has no more."
        ),
    ] = 12,
    temperature: Annotated[
        float,
        typer.Option(min=0.01, help="Sampling temperature. Published values: 1 for steps, 0.7 for pairs."),
    ] = 1.0,
    top_k: Annotated[
        int, typer.Option(min=0, help="Sampling top_k. With 0 it isn't sent, for servers that don't know it.")
    ] = 50,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens of an answer. By default what the context window leaves."),
    ] = None,
    fields: Annotated[
        str,
        typer.Option(help="JSON object whose fields go into every request, for example mm_processor_kwargs."),
    ] = "{}",
    seed: Annotated[int, typer.Option(help="Seed of the server's sampling and of the choice of pairs.")] = 0,
    concurrency: Concurrency = 8,
    bad_questions: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Largest share of bad questions, 0 to 1. Each one is named and left out."
        ),
    ] = 0.01,
    as_json: AsJson = False,
) -> None:
    """Make training data with a running server: scored steps for critics and preference pairs for MPO.

    The server writes several solutions of each question and several continuations of each of their steps. All
    are compared with the known answer. Every reply is kept at once in OUTPUT/rollouts.jsonl, so after a crash
    the same command continues and no reply is lost. In the end OUTPUT holds critic.json and
    pairs.json, which the training commands read:

        internvl3 train rollouts --questions questions.jsonl --output runs/rollouts
        internvl3 train critic --model MODEL --data runs/rollouts/critic.json --output runs/critic
        internvl3 train mpo --model MODEL --data runs/rollouts/pairs.json --output runs/mpo

    The field "mode" of a question says how answers are compared with its known answer: exact, relaxed, math
    or anls.
    """

    def report() -> Mapping[str, Any]:
        from ttscaling.train.rollouts.job import RolloutRun, make_data
        from ttscaling.train.rollouts.rollout import RolloutPlan

        sampling = {
            "model": model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_k": top_k or None,
        }
        return make_data(
            RolloutRun(
                questions=questions,
                root=images or questions.parent,
                output=output,
                instruction=instruction,
                plan=RolloutPlan(
                    solutions=solutions,
                    continuations=continuations,
                    without_image=blind,
                    max_steps=max_steps,
                    seed=seed,
                ),
                fields={name: value for name, value in sampling.items() if value is not None}
                | _object(fields),
                address=address_of(base_url, api_key, header),
                concurrency=concurrency,
                bad_questions=bad_questions,
            )
        )

    run_command(report, _show, as_json)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--fields isn't JSON ({error}): write a JSON object") from error
    if not isinstance(content, dict):
        raise CommandError(f"--fields isn't a JSON object, but a {type(content).__name__}: write an object")
    return content


def _show(summary: Mapping[str, Any], console: Console) -> None:
    records = ", ".join(f"{count} {name}" for name, count in summary["records"].items())
    console.print(
        f"{summary['questions']} questions, {summary['bad']} bad; "
        f"{summary['right']} of {summary['solutions']} solutions right; "
        f"{summary['continuations']} continuations of {summary['prefixes']} prefixes",
        f"records: {records}",
        f"data for internvl3 train: {', '.join(summary['data']) or 'none, because no record was made'}",
        sep="\n",
        soft_wrap=True,
    )
