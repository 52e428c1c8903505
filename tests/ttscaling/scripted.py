"""A policy and a critic whose every move a test decides: complete implementations of the two protocols."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from ttscaling.steps import split_steps
from ttscaling.types import (
    Candidate,
    Conversation,
    CriticError,
    Draft,
    FailedCandidate,
    PolicyError,
    StepScores,
)

QUESTION = Conversation(messages=({"role": "user", "content": "What is 3 + 4?"},), mm_processor_kwargs={})


def candidate(index: int, text: str, *, tokens: int | None = None, reason: str | None = "stop") -> Candidate:
    """A candidate of so many tokens, by default as many as its text has characters."""
    return Candidate(
        index=index,
        text=text,
        finish_reason=reason,
        prompt_tokens=10,
        cached_tokens=0,
        completion_tokens=len(text) if tokens is None else tokens,
    )


class Playback:
    """A policy that yields what it is given, everything else running in between, then ends or hangs.

    Of an abandoned candidate nothing more is yielded; `abandoned` lists these.
    """

    def __init__(self, answers: Sequence[Candidate | FailedCandidate], *, hang: bool = False) -> None:
        self._answers = answers
        self._hang = hang
        self.abandoned: list[int] = []
        self.closed = False

    async def sample(
        self, conversation: Conversation, *, n: int, include_greedy: bool
    ) -> AsyncGenerator[Candidate | Draft | FailedCandidate, None]:
        try:
            for answer in self._answers:
                if answer.index in self.abandoned:
                    continue
                if isinstance(answer, Candidate) and answer.finish_reason is None:
                    yield self._draft(answer)
                else:
                    yield answer
                for _ in range(10):
                    await asyncio.sleep(0)
            if self._hang:
                await asyncio.Event().wait()
        finally:
            self.closed = True

    def _draft(self, answer: Candidate) -> Draft:
        return Draft(candidate=answer, abandon=lambda: self.abandoned.append(answer.index))


class ScriptedPolicy:
    """Finishes `texts` in the order `finish`, then does what `ending` says: stop, hang or fail.

    With `gates`, candidate i waits for gates[i]. `closed` tells whether the caller ended the generator
    properly.
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        finish: Sequence[int] | None = None,
        gates: Mapping[int, asyncio.Event] | None = None,
        ending: str = "stop",
    ) -> None:
        self._texts = texts
        self._finish = range(len(texts)) if finish is None else finish
        self._gates = gates or {}
        self._ending = ending
        self.closed = False

    async def sample(
        self, conversation: Conversation, *, n: int, include_greedy: bool
    ) -> AsyncGenerator[Candidate, None]:
        try:
            for index in self._finish:
                if index in self._gates:
                    await self._gates[index].wait()
                yield candidate(index, self._texts[index])
            if self._ending == "hang":
                await asyncio.Event().wait()
            if self._ending == "fail":
                raise PolicyError("the engine died")
        finally:
            self.closed = True


class ScriptedCritic:
    """Gives each answer the step scores of its script; answers without any raise CriticError.

    `seen` lists the answers in the order they came in. With `hang`, scoring never ends; `cancelled` counts
    how many scorings were ended from outside.
    """

    name = "scripted"

    def __init__(self, scores: Mapping[str, Sequence[float]], *, hang: bool = False) -> None:
        self._scores = scores
        self._hang = hang
        self.seen: list[str] = []
        self.cancelled = 0

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        self.seen.append(answer)
        try:
            await (asyncio.Event().wait() if self._hang else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if answer not in self._scores:
            raise CriticError(f"no scores for {answer!r}")
        steps = split_steps(answer)
        return StepScores(steps=steps, scores=tuple(self._scores[answer]), prompt_tokens=5, cached_tokens=0)
