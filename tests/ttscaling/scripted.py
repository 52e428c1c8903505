"""A policy and a critic whose every move a test decides: complete implementations of the two protocols."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ttscaling.steps import split_steps
from ttscaling.types import ABANDONED, Candidate, Conversation, CriticError, OnDraft, StepScores, ignore_draft

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


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A candidate of a script that ends with an error."""

    index: int
    error: Exception


class Playback:
    """A policy whose candidates do what the script says, in its order, everything else running in between.

    An answer without finish_reason is a draft. Who isn't in the script never ends. `begun` and `abandoned`
    list who was started and who was cancelled; `closed` says that none is running.
    """

    def __init__(self, script: Sequence[Candidate | Failed], *, pause: int = 10) -> None:
        self._script = list(script)
        self._pause = pause  # turns of the event loop between two of them
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


def says(texts: Sequence[str], *, finish: Sequence[int] | None = None) -> Playback:
    """Candidate i says texts[i]; they finish in this order."""
    return Playback([candidate(index, texts[index]) for index in finish or range(len(texts))])


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
