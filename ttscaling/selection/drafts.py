"""Score drafts step by step while they are written, and end those that can't win any more."""

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
    """The drafts of one selection. As a context manager it cancels the scorings that still run at its end.

    `abandon` ends the candidate with an index and returns whether it did. `lost` holds the indices of the
    candidates that were ended so.
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
        self._sent: dict[int, int] = {}  # how many characters of each draft the critic was given
        self._scoring: set[int] = set()  # the drafts that the critic is scoring
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
        """Keep a draft's new state, and score its finished steps unless the draft is being scored."""
        index = draft.index
        self._drafts[index] = draft
        if self._critic is None or draft.finish_reason is not None or index in self._scoring:
            return
        steps = draft.text.rpartition(SEPARATOR)[0]
        if len(steps) > self._sent.get(index, 0) and steps.strip():
            self._sent[index] = len(steps)
            self._scoring.add(index)
            self._tasks[index] = asyncio.create_task(self._score(self._critic, index, steps))

    def close(self, index: int) -> None:
        """Forget a candidate that is finished or has failed."""
        self._drafts.pop(index, None)
        if index in self._scoring:
            self._tasks[index].cancel()

    def abandon_below(self, score: float) -> None:
        """End all drafts that can't reach `score`, the best score of a finished candidate."""
        self._best = max(self._best, score)
        for index in list(self._drafts):
            self._end_if_lost(index)

    def unfinished_candidates(self, finish_reason: str) -> list[ScoredCandidate]:
        """Return the drafts that are left at the end, as candidates with this finish_reason.

        Those that were ended because they can't win have ABANDONED instead.
        """
        return [
            ScoredCandidate(
                candidate=replace(draft, finish_reason=ABANDONED if index in self.lost else finish_reason),
                step_scores=self._scores.get(index),
                score=None,
            )
            for index, draft in sorted(self._drafts.items())
        ]

    async def _score(self, critic: Critic, index: int, steps: str) -> None:
        with suppress(CriticError):  # the finished answer is scored again, and that failure counts
            self._scores[index] = await critic.score(self._conversation, steps)
        self._scoring.remove(index)
        self._end_if_lost(index)

    def _end_if_lost(self, index: int) -> None:
        if index not in self._scores or index not in self._drafts or index in self.lost:
            return
        possible = best_possible(self._scores[index].scores, self._aggregation, max_steps=self._max_steps)
        if possible < self._best and self._abandon(index):
            self.lost.add(index)
