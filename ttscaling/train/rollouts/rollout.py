"""Solutions of questions and Monte-Carlo values of their steps, from a running server.

Sources: arXiv 2503.10291 section 3.1, arXiv 2411.10442 section 3; OpenGVLab/InternVL
`tools/reasoning_data_pipeline`. About each question is asked, one after the other: several solutions; from
each prefix of their steps, the shortest first, several continuations; and right solutions continued from
their first half without the image. A prefix that solutions share is continued once. So the server finds
almost all of a prompt in its prefix cache: the question's tokens, and those that it wrote itself.

Every reply is kept before the next request is sent. A run that was cut off goes on with what is missing.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ttscaling.asking.client import Refused
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.asking.results_file import ResultsFile, Row
from ttscaling.asking.user_message import user_message
from ttscaling.console import CommandError
from ttscaling.records.bad_records import BadRecords, RecordError, TooManyBadRecordsError
from ttscaling.records.media_paths import media_path
from ttscaling.records.questions import Question
from ttscaling.steps import SEPARATOR, split_steps
from ttscaling.types import Message, TokenUsage

from .pairing import Solution, dropout_beginning, dropout_question
from .server_sampler import Answer, ServerSampler, stated, usage_json

Verdict = Callable[[Question, str | None], bool]
"""Whether a final answer to a question is right. Called in threads."""


@dataclass(frozen=True, kw_only=True)
class RolloutPlan:
    """What is asked about each question."""

    solutions: int
    continuations: int  # of each prefix; 0 for none
    without_image: int  # right solutions continued without the image, at most
    max_steps: int | None  # neighbours are merged until a solution has no more
    seed: int


@dataclass(frozen=True)
class PrefixValue:
    """`right` of `total` continuations of a prefix reached the right answer."""

    right: int
    total: int


@dataclass
class Rollout:
    """What is known about one question.

    `values` are keyed by prefix, `without_image` by solution; `bad` says why the question is a bad record.
    """

    question: Question
    solutions: tuple[Solution, ...] = ()
    values: dict[str, PrefixValue] = field(default_factory=dict)
    without_image: dict[str, str] = field(default_factory=dict)
    bad: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)

    def add(self, row: Row) -> None:
        """Take in a row as it is kept."""
        self.usage += TokenUsage(**row.get("tokens", {}))
        if "solutions" in row:
            self.solutions = tuple(Solution(**solution) for solution in row["solutions"])
        elif "prefix" in row:
            self.values[row["prefix"]] = PrefixValue(row["right"], row["total"])
        else:
            self.without_image[row["blind"]] = row["text"]


def prefixes(solution: str, max_steps: int | None) -> list[str]:
    """The solution's steps up to each, without the last: after that there is nothing to continue."""
    steps = split_steps(solution, max_steps=max_steps)
    return [SEPARATOR.join(steps[:length]) for length in range(1, len(steps))]


async def roll_out(
    sampler: ServerSampler,
    questions: Sequence[Question],
    root: Path,
    plan: RolloutPlan,
    *,
    verdict: Verdict,
    ledger: ResultsFile,
    faults: BadRecords,
    concurrency: int,
) -> list[Rollout]:
    """All of it for all questions: what `ledger` holds, and what is missing.

    A question that the server refuses goes to `faults`. Raises EvaluationError where the server fails
    otherwise, or too many questions are bad; what came until then is kept.
    """
    rollouts = [Rollout(question) for question in questions]
    for row in ledger.rows:
        rollouts[row["question"]].add(row)
    if plan.continuations or plan.without_image:
        await sampler.check_continues()

    async def work(number: int) -> None:
        await _QuestionRollout(sampler, rollouts[number], root, plan, verdict, ledger, number).run()
        problem = rollouts[number].bad
        if problem is None:
            faults.accept()
        else:
            faults.reject(problem)

    try:
        await run_concurrently(
            range(len(questions)), work, total=len(questions), concurrency=concurrency, label="questions"
        )
        faults.check_share()
    except TooManyBadRecordsError as error:
        raise CommandError(str(error)) from error
    return rollouts


@dataclass(frozen=True)
class _QuestionRollout:
    """The requests about one question, each answered once."""

    sampler: ServerSampler
    rollout: Rollout
    root: Path
    plan: RolloutPlan
    verdict: Verdict
    ledger: ResultsFile
    number: int

    async def run(self) -> None:
        """Ask what isn't known yet."""
        try:
            await self._solve()
            if self.plan.continuations:
                await self._value()
            if self.rollout.question.images or self.rollout.question.video:
                await self._continue_blindly()
        except (Refused, RecordError) as error:  # not kept: the next run may have mended it
            self.rollout.bad = f"question {self.number + 1}: {error}"

    async def _solve(self) -> None:
        if self.rollout.solutions:
            return
        answers, usage = await self.sampler.answers(
            self._message(), n=self.plan.solutions, seed=self._seed("solutions")
        )
        solutions = [
            Solution(text=answer.text, answer=stated(answer), right=await self._right(stated(answer)))
            for answer in answers
        ]
        self._keep({"solutions": [asdict(solution) for solution in solutions], "tokens": usage_json(usage)})

    async def _value(self) -> None:
        wanted = dict.fromkeys(
            prefix
            for solution in self.rollout.solutions
            for prefix in prefixes(solution.text, self.plan.max_steps)
        )
        message = self._message()
        for prefix in [prefix for prefix in wanted if prefix not in self.rollout.values]:
            answers, usage = await self.sampler.answers(
                message, n=self.plan.continuations, seed=self._seed("prefix", prefix), begun=prefix
            )
            continued = [Answer(prefix + answer.text, answer.whole) for answer in answers]
            right = sum([await self._right(stated(answer)) for answer in continued])
            total = len(continued)
            self._keep({"prefix": prefix, "right": right, "total": total, "tokens": usage_json(usage)})

    async def _continue_blindly(self) -> None:
        right = dict.fromkeys(solution.text for solution in self.rollout.solutions if solution.right)
        message = {"role": "user", "content": dropout_question(self.rollout.question)}
        for chosen in list(right)[: self.plan.without_image]:
            begun = dropout_beginning(chosen)
            if begun and chosen not in self.rollout.without_image:
                (answer,), usage = await self.sampler.answers(
                    message, n=1, seed=self._seed("blind", begun), begun=begun
                )
                self._keep({"blind": chosen, "text": begun + answer.text, "tokens": usage_json(usage)})

    def _seed(self, *of: str) -> int:
        """A seed of its own for each request, the same in every run."""
        digest = hashlib.sha256("\n".join([str(self.plan.seed), str(self.number), *of]).encode()).digest()
        return int.from_bytes(digest[:4]) % 2**31

    async def _right(self, answer: str | None) -> bool:
        return await asyncio.to_thread(self.verdict, self.rollout.question, answer)

    def _keep(self, row: Mapping[str, Any]) -> None:
        kept = {"question": self.number, **row}
        self.ledger.add(kept)
        self.rollout.add(kept)

    def _message(self) -> Message:
        question = self.rollout.question
        images = [media_path(self.root, image) for image in question.images]
        video = None if question.video is None else media_path(self.root, question.video)
        return user_message(question.text, images, video)
