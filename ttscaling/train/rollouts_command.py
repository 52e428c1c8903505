"""`internvl3 train rollouts`: training data for critics and for MPO, made by a running server."""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ttscaling.evaluation.asking import (
    DEFAULT_URL,
    AsJson,
    BaseUrl,
    Concurrency,
    EvaluationError,
    connected,
    finish,
    warn,
)
from ttscaling.evaluation.graders import grader
from ttscaling.evaluation.ledger import Ledger
from ttscaling.evaluation.questions import user_message_parts

from .continuing import Sampler, Tokens
from .data.faults import Faults, TooManyBadRecordsError
from .data.jsonl import read_records
from .data.media import media_path
from .data.questions import Question, parse_question
from .rollout_data import CRITIC, PAIRS, write_data
from .rollouts import Plan, Rollout, Verdict, roll_out

PLACE = "{question}"
KEPT = "rollouts.jsonl"


def rollouts(
    questions: Annotated[Path, typer.Option(help="JSONL: image(s) or video, question, answer; or chats.")],
    output: Annotated[Path, typer.Option(help="Folder for what is made. The same again: goes on.")],
    base_url: BaseUrl = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Name to ask for, where the server wants one.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="What media paths are relative to.  [default: the questions' folder]")
    ] = None,
    instruction: Annotated[
        str, typer.Option(help=f"What is asked: {PLACE} and, say, how to answer. Steps are paragraphs.")
    ] = PLACE,
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
        if PLACE not in instruction:
            raise EvaluationError(f"--instruction has no {PLACE}: write where the question goes")
        plan = Plan(
            solutions=solutions, continuations=continuations, blind=blind, max_steps=max_steps, seed=seed
        )
        sampling = {
            "model": model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_k": top_k or None,
        }
        sent = {name: value for name, value in sampling.items() if value is not None} | _object(fields)
        root = images or questions.parent
        asked = _read(questions, root, instruction, bad_questions)
        digest = hashlib.sha256(questions.read_bytes()).hexdigest()
        identity = {"questions": digest, "instruction": instruction, **asdict(plan), **sent}
        faults = Faults(allowed=bad_questions, tell=warn)

        async def gathered(ledger: Ledger, verdict: Verdict) -> list[Rollout]:
            async with connected(base_url, key=api_key) as server:
                return await roll_out(
                    Sampler(server, sent),
                    asked,
                    root,
                    plan,
                    verdict=verdict,
                    ledger=ledger,
                    faults=faults,
                    concurrency=concurrency,
                )

        with _verdict(asked) as verdict, Ledger(output / KEPT, identity) as ledger:
            made = asyncio.run(gathered(ledger, verdict))
        return _summary(made, write_data(output, root, made, plan), output)

    finish(report, _show, as_json)


@contextmanager
def _verdict(asked: Sequence[Question]) -> Iterator[Verdict]:
    """Comparison by each question's own mode; math-verify runs only if one asks for it."""
    modes = {question.mode for question in asked}
    with ExitStack() as opened:
        graders = {mode: opened.enter_context(grader(mode)) for mode in modes}
        yield lambda question, answer: graders[question.mode](answer, question.answer)


def _read(path: Path, root: Path, instruction: str, bad_questions: float) -> list[Question]:
    def parse(data: Mapping[str, Any]) -> Question:
        question = parse_question(data)
        for media in (*question.images, *([question.video] if question.video else [])):
            media_path(root, media)
        if question.video is None:
            user_message_parts(question.text, [root / image for image in question.images])
        return replace(question, text=instruction.replace(PLACE, question.text))

    try:
        found = list(read_records(path, parse, Faults(allowed=bad_questions, tell=warn)))
    except (TooManyBadRecordsError, OSError) as error:
        raise EvaluationError(str(error)) from error
    if not found:
        raise EvaluationError(f"{path} holds no questions: write one JSON object a line")
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise EvaluationError(f"--fields isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise EvaluationError(f"--fields is a JSON {type(content).__name__}: write an object")
    return content


def _summary(made: Sequence[Rollout], records: Mapping[str, int], output: Path) -> Mapping[str, Any]:
    solutions = [solution for rollout in made for solution in rollout.solutions]
    values = [value for rollout in made for value in rollout.values.values()]
    return {
        "questions": len(made),
        "bad": sum(rollout.bad is not None for rollout in made),
        "solutions": len(solutions),
        "right": sum(solution.right for solution in solutions),
        "prefixes": len(values),
        "continuations": sum(value.total for value in values),
        "records": dict(records),
        "tokens": asdict(sum((rollout.tokens for rollout in made), Tokens())),
        "data": [str(output / meta) for meta in (CRITIC, PAIRS) if (output / meta).exists()],
    }


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
