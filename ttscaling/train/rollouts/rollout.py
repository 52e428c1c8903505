"""Sample solutions of questions, and Monte-Carlo values of their steps, from a running server.

Sources: arXiv 2503.10291 section 3.1, arXiv 2411.10442 section 3; OpenGVLab/InternVL
`tools/reasoning_data_pipeline`. The requests about a question are sent one after the other. The first asks
for several solutions. Then each prefix of their steps, the shortest first, is continued several times; a
prefix that solutions share is continued once. Then right solutions are continued from their first half
without the image. In this order the server finds almost all of a prompt in its prefix cache: the question's
tokens, and tokens that it wrote itself.

Every reply is kept before the next request is sent, so a run that was cut off goes on with what is missing.
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
"""Returns whether a final answer to a question is right. It is called in threads."""


@dataclass(frozen=True, kw_only=True)
class RolloutPlan:
    """How many answers to each question are requested.

    Each prefix gets `continuations`, and 0 means that there are no step values. At most `without_image`
    right solutions are continued without the image. Neighbouring steps are merged until a solution has at
    most `max_steps`; None merges none.
    """

    solutions: int
    continuations: int
    without_image: int
    max_steps: int | None
    seed: int


@dataclass(frozen=True)
class PrefixValue:
    """The value of a prefix: `right` of its `total` continuations reached the right answer."""

    right: int
    total: int


@dataclass
class Rollout:
    """The replies about one question so far.

    `values` has prefixes as keys. `without_image` has solutions as keys, and their first half with its
    continuation as values. `bad` says why the question is a bad record, or is None.
    """

    question: Question
    solutions: tuple[Solution, ...] = ()
    values: dict[str, PrefixValue] = field(default_factory=dict)
    without_image: dict[str, str] = field(default_factory=dict)
    bad: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)

    def add(self, row: Row) -> None:
        """Add a reply in the form of a row of the results file."""
        self.usage += TokenUsage(**row.get("tokens", {}))
        if "solutions" in row:
            self.solutions = tuple(Solution(**solution) for solution in row["solutions"])
        elif "prefix" in row:
            self.values[row["prefix"]] = PrefixValue(row["right"], row["total"])
        else:
            self.without_image[row["blind"]] = row["text"]


def prefixes(solution: str, max_steps: int | None) -> list[str]:
    """Return the beginnings of a solution up to each step but the last, which leaves nothing to continue."""
    steps = split_steps(solution, max_steps=max_steps)
    return [SEPARATOR.join(steps[:length]) for length in range(1, len(steps))]


async def roll_out(
    sampler: ServerSampler,
    questions: Sequence[Question],
    root: Path,
    plan: RolloutPlan,
    *,
    verdict: Verdict,
    results: ResultsFile,
    bad_records: BadRecords,
    concurrency: int,
) -> list[Rollout]:
    """Return the rollouts of all questions; requests are sent for what `results` doesn't hold yet.

    A question that the server refuses counts as bad in `bad_records`. Raises CommandError if the server fails
    otherwise or too many questions are bad; replies until then stay in `results`.
    """
    rollouts = [Rollout(question) for question in questions]
    for row in results.rows:
        rollouts[row["question"]].add(row)
    if plan.continuations or plan.without_image:
        await sampler.check_continues()

    async def work(number: int) -> None:
        await _QuestionRollout(sampler, rollouts[number], root, plan, verdict, results, number).run()
        problem = rollouts[number].bad
        if problem is None:
            bad_records.accept()
        else:
            bad_records.reject(problem)

    try:
        await run_concurrently(
            range(len(questions)), work, total=len(questions), concurrency=concurrency, label="questions"
        )
        bad_records.check_share()
    except TooManyBadRecordsError as error:
        raise CommandError(str(error)) from error
    return rollouts


@dataclass(frozen=True)
class _QuestionRollout:
    """The requests about one question; those whose replies are kept aren't sent again."""

    sampler: ServerSampler
    rollout: Rollout
    root: Path
    plan: RolloutPlan
    verdict: Verdict
    results: ResultsFile
    number: int

    async def run(self) -> None:
        """Send the requests whose replies are missing."""
        try:
            await self._solve()
            if self.plan.continuations:
                await self._value()
            if self.rollout.question.images or self.rollout.question.video:
                await self._continue_blindly()
        except (Refused, RecordError) as error:
            # The problem isn't kept, because it may be mended before the next run.
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
        all_prefixes = dict.fromkeys(
            prefix
            for solution in self.rollout.solutions
            for prefix in prefixes(solution.text, self.plan.max_steps)
        )
        message = self._message()
        for prefix in [prefix for prefix in all_prefixes if prefix not in self.rollout.values]:
            answers, usage = await self.sampler.answers(
                message, n=self.plan.continuations, seed=self._seed("prefix", prefix), begun=prefix
            )
            continued = [Answer(prefix + answer.text, answer.complete) for answer in answers]
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

    def _seed(self, *request: str) -> int:
        """Return a seed that differs from request to request and is the same in every run."""
        key = "\n".join([str(self.plan.seed), str(self.number), *request])
        digest = hashlib.sha256(key.encode()).digest()
        return int.from_bytes(digest[:4]) % 2**31

    async def _right(self, answer: str | None) -> bool:
        return await asyncio.to_thread(self.verdict, self.rollout.question, answer)

    def _keep(self, row: Mapping[str, Any]) -> None:
        numbered = {"question": self.number, **row}
        self.results.add(numbered)
        self.rollout.add(numbered)

    def _message(self) -> Message:
        question = self.rollout.question
        images = [media_path(self.root, image) for image in question.images]
        video = None if question.video is None else media_path(self.root, question.video)
        return user_message(question.text, images, video)
