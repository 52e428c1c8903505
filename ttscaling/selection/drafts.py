"""Candidates that are still being written: read by the critic step by step, ended when they can't win."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    ABANDONED,
    Aggregation,
    Candidate,
    Conversation,
    Critic,
    CriticError,
    ScoredCandidate,
    StepScores,
)

from .stopping import StopRule, best_possible


class Drafts:
    """The drafts of one selection. Leaving it as a context ends the scorings that still run.

    `abandon` ends a candidate and says whether it did; `lost` are the indices of those.
    """

    def __init__(
        self,
        critic: Critic | None,
        conversation: Conversation,
        aggregation: Aggregation,
        stop: StopRule,
        abandon: Callable[[int], bool],
    ) -> None:
        self._critic = critic if stop.abandon_losers else None
        self._conversation = conversation
        self._aggregation: Aggregation = aggregation
        self._max_steps = stop.max_steps
        self._abandon = abandon
        self._drafts: dict[int, Candidate] = {}
        self._scores: dict[int, StepScores] = {}
        self._read: dict[int, int] = {}  # characters of each draft that the critic was given
        self._judging: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._best = 0.0
        self.lost: set[int] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def update(self, draft: Candidate) -> None:
        """Note a draft's new state; finished steps are scored unless a scoring of it is under way."""
        index = draft.index
        self._drafts[index] = draft
        if self._critic is None or draft.finish_reason is not None or index in self._judging:
            return
        steps = draft.text.rpartition(SEPARATOR)[0]
        if len(steps) > self._read.get(index, 0) and steps.strip():
            self._read[index] = len(steps)
            self._judging.add(index)
            self._tasks[index] = asyncio.create_task(self._judge(self._critic, index, steps))

    def close(self, index: int) -> None:
        """Forget a candidate: it is finished, or has failed."""
        self._drafts.pop(index, None)
        if index in self._judging:
            self._tasks[index].cancel()

    def abandon_below(self, score: float) -> None:
        """End all drafts that can't reach the score of the best finished candidate."""
        self._best = max(self._best, score)
        for index in list(self._drafts):
            self._end_if_lost(index)

    def unfinished_candidates(self, finish_reason: str) -> list[ScoredCandidate]:
        """What is left when everything has ended, as candidates that ended for this reason."""
        return [
            ScoredCandidate(
                candidate=replace(draft, finish_reason=ABANDONED if index in self.lost else finish_reason),
                step_scores=self._scores.get(index),
                score=None,
            )
            for index, draft in sorted(self._drafts.items())
        ]

    async def _judge(self, critic: Critic, index: int, steps: str) -> None:
        with suppress(CriticError):  # the finished answer is scored again, and then its failure counts
            self._scores[index] = await critic.score(self._conversation, steps)
        self._judging.remove(index)
        self._end_if_lost(index)

    def _end_if_lost(self, index: int) -> None:
        if index not in self._scores or index not in self._drafts or index in self.lost:
            return
        possible = best_possible(self._scores[index].scores, self._aggregation, max_steps=self._max_steps)
        if possible < self._best and self._abandon(index):
            self.lost.add(index)
