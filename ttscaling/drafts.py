"""Candidates that are still being written: read by the critic step by step, ended when they can't win."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from .steps import SEPARATOR
from .stopping import StopRule, best_possible
from .types import (
    ABANDONED,
    Aggregation,
    Conversation,
    Critic,
    CriticError,
    Draft,
    ScoredCandidate,
    StepScores,
)


class Drafts:
    """The drafts of one selection. `tasks` runs their scorings; `ended` holds those that were abandoned."""

    def __init__(
        self,
        critic: Critic | None,
        conversation: Conversation,
        aggregation: Aggregation,
        stop: StopRule,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._critic = critic if stop.abandon_losers else None
        self._conversation = conversation
        self._aggregation: Aggregation = aggregation
        self._max_steps = stop.max_steps
        self._tasks = tasks
        self._drafts: dict[int, Draft] = {}
        self._scores: dict[int, StepScores] = {}
        self._judging: dict[int, asyncio.Task[None]] = {}
        self._best = 0.0
        self.ended: list[ScoredCandidate] = []

    @property
    def tokens(self) -> int:
        """Tokens written of candidates that were not finished."""
        ended = sum(entry.candidate.completion_tokens for entry in self.ended)
        return ended + sum(draft.candidate.completion_tokens for draft in self._drafts.values())

    def update(self, draft: Draft) -> None:
        """Note a draft's new state; its finished steps are scored unless a scoring of it is under way."""
        index = draft.candidate.index
        self._drafts[index] = draft
        steps = draft.candidate.text.rpartition(SEPARATOR)[0]
        if self._critic is not None and steps.strip() and index not in self._judging:
            self._judging[index] = self._tasks.create_task(self._judge(self._critic, index, steps))

    def close(self, index: int) -> None:
        """Forget a candidate: it is finished, or has failed."""
        self._drafts.pop(index, None)
        if index in self._judging:
            self._judging.pop(index).cancel()

    def abandon_below(self, score: float) -> None:
        """End all drafts that can't reach the score of the best finished candidate."""
        self._best = max(self._best, score)
        for index in list(self._drafts):
            self._end_if_lost(index)

    def rest(self, finish_reason: str) -> list[ScoredCandidate]:
        """What is left when everything has been cancelled, as candidates that ended for this reason."""
        return [self._entry(index, finish_reason) for index in sorted(self._drafts)]

    async def _judge(self, critic: Critic, index: int, steps: str) -> None:
        with suppress(CriticError):  # the finished answer is scored again, and then its failure counts
            self._scores[index] = await critic.score(self._conversation, steps)
        del self._judging[index]
        self._end_if_lost(index)

    def _end_if_lost(self, index: int) -> None:
        if index not in self._scores or index not in self._drafts:
            return
        possible = best_possible(self._scores[index].scores, self._aggregation, max_steps=self._max_steps)
        if possible < self._best:
            self._drafts[index].abandon()
            self.ended.append(self._entry(index, ABANDONED))
            self.close(index)

    def _entry(self, index: int, finish_reason: str) -> ScoredCandidate:
        candidate = replace(self._drafts[index].candidate, finish_reason=finish_reason)
        return ScoredCandidate(candidate=candidate, step_scores=self._scores.get(index), score=None)
