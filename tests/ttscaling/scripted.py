"""A policy and a critic that do exactly what the script of a test says."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ttscaling.steps import split_steps
from ttscaling.types import ABANDONED, Candidate, Conversation, CriticError, OnDraft, StepScores, ignore_draft

QUESTION = Conversation(messages=({"role": "user", "content": "What is 3 + 4?"},), mm_processor_kwargs={})


def candidate(index: int, text: str, *, tokens: int | None = None, reason: str | None = "stop") -> Candidate:
    """Return a candidate with this many tokens, by default one for each character of its text."""
    return Candidate(
        index=index,
        text=text,
        finish_reason=reason,
        prompt_tokens=10,
        cached_tokens=0,
        completion_tokens=len(text) if tokens is None else tokens,
    )


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A candidate of a script that fails with an error."""

    index: int
    error: Exception


class Playback:
    """A policy whose candidates come in the order of a script, while all other tasks run in between.

    An answer without a finish_reason is a draft. A candidate that isn't in the script never ends. `begun`,
    `greedy` and `abandoned` list the candidates that were begun, that were greedy, and that were cancelled.
    `closed` says whether none is running.
    """

    def __init__(self, script: Sequence[Candidate | Failed], *, pause: int = 10) -> None:
        self._script = list(script)
        self._pause = pause  # turns of the event loop before each entry of the script
        self._running = 0
        self.begun: list[int] = []
        self.greedy: list[int] = []
        self.abandoned: list[int] = []

    @property
    def closed(self) -> bool:
        return self._running == 0

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        self.begun.append(index)
        if greedy:
            self.greedy.append(index)
        self._running += 1
        draft = None
        try:
            while True:
                answer = await self._turn(index)
                if isinstance(answer, Failed):
                    raise answer.error
                if answer.finish_reason is not None:
                    return answer
                draft = answer
                if streamed:
                    on_draft(draft)
        except asyncio.CancelledError:
            self.abandoned.append(index)
            self._script = [answer for answer in self._script if answer.index != index]
            if draft is not None:
                on_draft(replace(draft, finish_reason=ABANDONED))
            raise
        finally:
            self._running -= 1

    async def _turn(self, index: int) -> Candidate | Failed:
        if all(answer.index != index for answer in self._script):
            await asyncio.Event().wait()
        while self._script[0].index != index:
            await asyncio.sleep(0)
        for _ in range(self._pause):
            await asyncio.sleep(0)
        return self._script.pop(0)


def playback_of(texts: Sequence[str], *, finish: Sequence[int] | None = None) -> Playback:
    """Return a policy whose candidate i writes texts[i]; `finish` is the order in which they finish."""
    return Playback([candidate(index, texts[index]) for index in finish or range(len(texts))])


class ScriptedCritic:
    """Gives each answer the step scores of its script; for any other answer it raises CriticError.

    `answers` lists the answers in the order in which they came. With `hang`, scoring never ends. `cancelled`
    counts the scorings that were cancelled.
    """

    name = "scripted"

    def __init__(self, scores: Mapping[str, Sequence[float]], *, hang: bool = False) -> None:
        self._scores = scores
        self._hang = hang
        self.answers: list[str] = []
        self.cancelled = 0

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        self.answers.append(answer)
        try:
            await (asyncio.Event().wait() if self._hang else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if answer not in self._scores:
            raise CriticError(f"no scores for {answer!r}")
        steps = split_steps(answer)
        return StepScores(steps=steps, scores=tuple(self._scores[answer]), prompt_tokens=5, cached_tokens=0)
