"""`internvl3 train rollouts`: training data for critics and for MPO, made by a running server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ttscaling.asking.client import DEFAULT_URL, BaseUrl
from ttscaling.asking.concurrency import Concurrency
from ttscaling.console import AsJson, CommandError, run_command


def rollouts(
    questions: Annotated[Path, typer.Option(help="JSONL: image(s) or video, question, answer; or chats.")],
    output: Annotated[Path, typer.Option(help="Folder for what is made. The same again: goes on.")],
    base_url: BaseUrl = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Name to ask for, where the server wants one.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="What media paths are relative to.  [default: the questions' folder]")
    ] = None,
    instruction: Annotated[
        str, typer.Option(help="What is asked: {question} and, say, how to answer. Steps are paragraphs.")
    ] = "{question}",
    solutions: Annotated[int, typer.Option(min=1, help="Per question. Published: 4; for pairs 32.")] = 4,
    continuations: Annotated[int, typer.Option(min=0, help="From each step; 0: pairs only.")] = 16,
    blind: Annotated[
        int, typer.Option(min=0, help="Right solutions of a question gone on with unseen (DropoutNTP).")
    ] = 1,
    max_steps: Annotated[int, typer.Option(min=1, help="A solution's steps are merged to so many.")] = 12,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="Published: 1 for steps, 0.7 for pairs.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="0: not sent, for servers that don't know it.")] = 50,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of an answer.  [default: what the window leaves]")
    ] = None,
    fields: Annotated[
        str, typer.Option(help="JSON object merged into every request, like mm_processor_kwargs.")
    ] = "{}",
    seed: Annotated[int, typer.Option(help="Of the server's sampling and of the choice of pairs.")] = 0,
    api_key: Annotated[
        str | None, typer.Option(envvar="INTERNVL3_API_KEY", help="Sent as bearer token.")
    ] = None,
    concurrency: Concurrency = 8,
    bad_questions: Annotated[
        float, typer.Option(min=0, max=1, help="Share that may be bad; each is named and left out.")
    ] = 0.01,
    as_json: AsJson = False,
) -> None:
    """Make training data with a running server: judged steps for critics, preference pairs for MPO.

    Of each question come several solutions, from each of their steps several continuations, and all are
    compared with the known answer. What the server sent is kept at once in OUTPUT/rollouts.jsonl: after a
    crash the same command goes on, nothing is lost or asked twice. Then, in OUTPUT, critic.json and
    pairs.json:

        internvl3 train rollouts --questions questions.jsonl --output runs/rollouts
        internvl3 train critic --model MODEL --data runs/rollouts/critic.json --output runs/critic
        internvl3 train mpo --model MODEL --data runs/rollouts/pairs.json --output runs/mpo

    A question may say how answers are compared with its own: "mode": exact, relaxed, math or anls.
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
                base_url=base_url,
                api_key=api_key,
                concurrency=concurrency,
                bad_questions=bad_questions,
            )
        )

    run_command(report, _show, as_json)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--fields isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"--fields is a JSON {type(content).__name__}: write an object")
    return content


def _show(made: Mapping[str, Any], console: Console) -> None:
    records = ", ".join(f"{count} {name}" for name, count in made["records"].items())
    console.print(
        f"{made['questions']} questions, {made['bad']} bad; "
        f"{made['right']} of {made['solutions']} solutions right; "
        f"{made['continuations']} continuations of {made['prefixes']} prefixes",
        f"records: {records}",
        f"data for internvl3 train: {', '.join(made['data']) or 'none, since no record was made'}",
        sep="\n",
        soft_wrap=True,
    )
