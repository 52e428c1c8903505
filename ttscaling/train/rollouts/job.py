"""Make training data from a file of questions by rollouts on a server."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ttscaling.asking.address import Address
from ttscaling.asking.client import connected
from ttscaling.asking.graders import grader
from ttscaling.asking.results_file import SERVER, ResultsFile
from ttscaling.asking.server_setup import policy_setup
from ttscaling.asking.user_message import user_message_parts
from ttscaling.console import CommandError, warn
from ttscaling.records.bad_records import BadRecords, TooManyBadRecordsError
from ttscaling.records.jsonl import read_records
from ttscaling.records.media_paths import media_path
from ttscaling.records.questions import Question, parse_question
from ttscaling.types import TokenUsage

from .data_sets import CRITIC, PAIRS, write_data
from .rollout import Rollout, RolloutPlan, Verdict, roll_out
from .server_sampler import ServerSampler, usage_json

QUESTION_SLOT = "{question}"
RESULTS = "rollouts.jsonl"


@dataclass(frozen=True, kw_only=True)
class RolloutRun:
    """The questions, the server and the output folder of a run.

    `instruction` is the text of a user's message, in which a question replaces QUESTION_SLOT. Media paths are
    relative to `root`. `fields` go into every request. `bad_questions` is the share of questions that may be
    bad, 0 to 1.
    """

    questions: Path
    root: Path
    output: Path
    instruction: str
    plan: RolloutPlan
    fields: Mapping[str, Any]
    address: Address
    concurrency: int
    bad_questions: float


def make_data(run: RolloutRun) -> Mapping[str, Any]:
    """Make the data sets, and return the counts of everything as JSON.

    The run goes on from the replies that the output folder holds of it. Raises CommandError if the questions
    can't be used, the folder holds another run, or the server fails.
    """
    if QUESTION_SLOT not in run.instruction:
        raise CommandError(f"--instruction has no {QUESTION_SLOT}: write it where the question belongs")
    questions = _read(run)
    identity = {
        "questions": hashlib.sha256(run.questions.read_bytes()).hexdigest(),
        "instruction": run.instruction,
        **asdict(run.plan),
        **run.fields,
        SERVER: asyncio.run(_policy_setup(run)),
    }
    with _verdict(questions) as verdict, ResultsFile(run.output / RESULTS, identity) as results:
        rollouts = asyncio.run(_roll_out(run, questions, verdict, results))
    return _summary(rollouts, write_data(run.output, run.root, rollouts, run.plan), run.output)


async def _policy_setup(run: RolloutRun) -> Mapping[str, Any]:
    """Return which policy answers; the critic of the server takes no part in rollouts."""
    async with connected(run.address) as server:
        return await policy_setup(server, run.fields.get("model"))


async def _roll_out(
    run: RolloutRun, questions: Sequence[Question], verdict: Verdict, results: ResultsFile
) -> list[Rollout]:
    async with connected(run.address) as server:
        return await roll_out(
            ServerSampler(server, run.fields),
            questions,
            run.root,
            run.plan,
            verdict=verdict,
            results=results,
            bad_records=BadRecords(allowed=run.bad_questions, tell=warn),
            concurrency=run.concurrency,
        )


@contextmanager
def _verdict(questions: Sequence[Question]) -> Iterator[Verdict]:
    """Yield the comparison by each question's mode; math-verify starts only if a question needs it."""
    modes = {question.mode for question in questions}
    with ExitStack() as opened:
        graders = {mode: opened.enter_context(grader(mode)) for mode in modes}
        yield lambda question, answer: graders[question.mode](answer, question.answer)


def _read(run: RolloutRun) -> list[Question]:
    """Return the good questions with the text that is sent; a question without its media is bad."""

    def parse(data: Mapping[str, Any]) -> Question:
        question = parse_question(data)
        for media in (*question.images, *([question.video] if question.video else [])):
            media_path(run.root, media)
        if question.video is None:
            user_message_parts(question.text, [run.root / image for image in question.images])
        return replace(question, text=run.instruction.replace(QUESTION_SLOT, question.text))

    try:
        questions = list(read_records(run.questions, parse, BadRecords(allowed=run.bad_questions, tell=warn)))
    except (TooManyBadRecordsError, OSError) as error:
        raise CommandError(str(error)) from error
    if not questions:
        raise CommandError(f"{run.questions} holds no questions: write one JSON object on each line")
    return questions


def _summary(rollouts: Sequence[Rollout], records: Mapping[str, int], output: Path) -> Mapping[str, Any]:
    solutions = [solution for rollout in rollouts for solution in rollout.solutions]
    values = [value for rollout in rollouts for value in rollout.values.values()]
    return {
        "questions": len(rollouts),
        "bad": sum(rollout.bad is not None for rollout in rollouts),
        "solutions": len(solutions),
        "right": sum(solution.right for solution in solutions),
        "prefixes": len(values),
        "continuations": sum(value.total for value in values),
        "records": dict(records),
        "tokens": usage_json(sum((rollout.usage for rollout in rollouts), TokenUsage())),
        "data": [str(output / meta) for meta in (CRITIC, PAIRS) if (output / meta).exists()],
    }
