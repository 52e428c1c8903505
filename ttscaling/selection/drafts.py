"""Score drafts step by step while they are written, and end those that can't win any more."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace

from ttscaling.steps import SEPARATOR, finished_steps
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
    """The drafts of one selection.

    `start` starts a scoring as a task of the selection, which ends with the first error that isn't a
    CriticError. `abandon` ends the candidate with an index and returns whether it did. `lost` holds the
    indices of the candidates that were ended so.
    """

    def __init__(
        self,
        critic: Critic | None,
        conversation: Conversation,
        aggregation: Aggregation,
        stop: StopRule,
        start: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        abandon: Callable[[int], bool],
    ) -> None:
        self._critic = critic if stop.abandon_losers else None
        self._conversation = conversation
        self._aggregation: Aggregation = aggregation
        self._max_steps = stop.max_steps
        self._start = start
        self._abandon = abandon
        self._drafts: dict[int, Candidate] = {}
        self._scores: dict[int, StepScores] = {}
        self._sent: dict[int, int] = {}  # how many steps of each draft the critic was given
        self._scoring: set[int] = set()  # the drafts that the critic is scoring
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._best = 0.0
        self.lost: set[int] = set()

    def update(self, draft: Candidate) -> None:
        """Keep a draft's new state, and score its finished steps unless the draft is being scored."""
        index = draft.index
        self._drafts[index] = draft
        if self._critic is None or draft.finish_reason is not None or index in self._scoring:
            return
        steps = finished_steps(draft.text)
        if len(steps) > self._sent.get(index, 0):
            self._sent[index] = len(steps)
            self._scoring.add(index)
            self._tasks[index] = self._start(self._score(self._critic, index, SEPARATOR.join(steps)))

    def close(self, index: int) -> None:
        """Forget a candidate that is finished or has failed."""
        self._drafts.pop(index, None)
        self._cancel(index)

    def close_all(self) -> list[Candidate]:
        """Forget all drafts, and return them in index order."""
        drafts = [self._drafts[index] for index in sorted(self._drafts)]
        for draft in drafts:
            self.close(draft.index)
        return drafts

    def cancel_scorings(self) -> None:
        """Cancel the scorings of all drafts."""
        for index in list(self._scoring):
            self._cancel(index)

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
        try:
            with suppress(CriticError):  # the finished answer is scored again, and that failure counts
                self._scores[index] = await critic.score(self._conversation, steps)
        finally:
            self._scoring.remove(index)
        self._end_if_lost(index)

    def _cancel(self, index: int) -> None:
        if index in self._scoring:
            self._tasks[index].cancel()

    def _end_if_lost(self, index: int) -> None:
        if index not in self._scores or index not in self._drafts or index in self.lost:
            return
        possible = best_possible(self._scores[index].scores, self._aggregation, max_steps=self._max_steps)
        if possible < self._best and self._abandon(index):
            self.lost.add(index)
