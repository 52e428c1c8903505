"""Write candidates at the same time or in waves, and score each as soon as it ends, until a rule is met.

All methods but beam search gather candidates here. An answer that several candidates gave is scored once.
When a selection ends (also early, by cancellation or by an error), no sampling and no scoring is left
running.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

from ttscaling.answers.final_answer import final_answer, group_equal_answers
from ttscaling.types import (
    ABANDONED,
    Candidate,
    Critic,
    CriticError,
    InvalidCandidate,
    OutOfTime,
    Policy,
    PolicyError,
    Progress,
    ScoredCandidate,
    StepScores,
    Stopped,
)

from .aggregation import aggregate
from .drafts import Drafts
from .plan import GatheredCandidates, GatherPlan
from .stopping import answers_agree
from .task_groups import raise_first_failure


async def gather_candidates(policy: Policy, plan: GatherPlan) -> GatheredCandidates:
    """Sample and score the candidates of a plan, and return them.

    A candidate that fails alone is left out and named in `faults`. Raises PolicyError if no candidate was
    finished (OutOfTime if that was for lack of time), and lets other errors of the critic and the policy
    pass.
    """
    stopped: Stopped | None = None
    gathering = _Gathering(policy, plan)
    try:
        async with asyncio.timeout(plan.stop.max_seconds):
            stopped = await gathering.run()
    except TimeoutError:
        stopped = "seconds"
    return gathering.result(stopped)


def in_index_order(
    entries: Sequence[ScoredCandidate],
    stopped: Stopped | None,
    faults: Sequence[str],
    failed: int,
    *,
    if_none: PolicyError,
) -> GatheredCandidates:
    """Return candidates to choose from, in index order. Raises `if_none` if there are none."""
    if not entries:
        raise if_none
    in_order = sorted(entries, key=lambda entry: entry.candidate.index)
    return GatheredCandidates(
        candidates=tuple(in_order), stopped=stopped, faults=tuple(faults), failed=failed
    )


class _StopEarly(Exception):
    """Raised in the task of one candidate, it cancels all other tasks."""

    def __init__(self, reason: Stopped) -> None:
        self.reason = reason


class _Gathering:
    """The candidates and scores of one selection that have come so far, and the tasks that still run."""

    def __init__(self, policy: Policy, plan: GatherPlan) -> None:
        self._policy = policy
        self._plan = plan
        self._tasks = asyncio.TaskGroup()
        self._begun = 0
        self._room = plan.stop.first_wave or plan.n  # how many candidates may be begun now
        self._writing: dict[int, asyncio.Task[None]] = {}
        self._written: dict[int, int] = {}  # tokens of each candidate, as far as the policy has reported them
        self._full = False  # whether the candidates have written max_tokens
        self._entries: dict[int, ScoredCandidate] = {}
        self._scorings: dict[str, asyncio.Task[StepScores | CriticError]] = {}  # by the answer's text
        self._drafts = Drafts(plan.critic, plan.conversation, plan.aggregation, plan.stop, self._abandon)
        self._failed: dict[int, PolicyError] = {}
        self._invalid: dict[int, Candidate] = {}
        self._unscored: dict[int, CriticError] = {}

    async def run(self) -> Stopped | None:
        """Return None when all candidates are finished and scored, or else the rule that ended it."""
        try:
            with raise_first_failure(preferred=_StopEarly):
                async with self._drafts, self._tasks:
                    self._begin()
        except _StopEarly as enough:
            return enough.reason
        return "tokens" if self._full else None

    def result(self, stopped: Stopped | None) -> GatheredCandidates:
        """Return the candidates to choose from. Raises PolicyError if there are none."""
        if self._complete:
            stopped = None  # the last candidate met the rule, so the rule ended nothing
        faults = [f"candidate {index} failed: {reason}" for index, reason in sorted(self._failed.items())]
        faults += [
            f"candidate {index} has no score: {error}" for index, error in sorted(self._unscored.items())
        ]
        if not self._entries and self._invalid:
            first = self._invalid[min(self._invalid)]
            self._entries[first.index] = ScoredCandidate(candidate=first, step_scores=None, score=None)
        entries = [
            *self._entries.values(),
            *self._drafts.unfinished_candidates(ABANDONED if self._entries else "length"),
        ]
        if_none = PolicyError(f"no candidate was finished: {'; '.join(faults)}")
        if stopped == "seconds":
            if_none = OutOfTime(f"no candidate was finished within {self._plan.stop.max_seconds} seconds")
        if_none.__cause__ = next(iter(self._failed.values()), None)
        return in_index_order(entries, stopped, faults, len(self._failed), if_none=if_none)

    @property
    def _settled(self) -> int:
        """How many candidates need nothing more: scored, failed, or abandoned."""
        known = self._entries if self._plan.critic is None else {*self._scored, *self._unscored}
        return len(known) + len(self._failed) + len(self._drafts.lost)

    @property
    def _complete(self) -> bool:
        return self._settled == self._plan.n

    @property
    def _scored(self) -> dict[int, float]:
        return {index: entry.score for index, entry in self._entries.items() if entry.score is not None}

    def _begin(self) -> None:
        """Begin as many candidates as there is room for."""
        while self._room > 0 and self._begun < self._plan.n and not self._full:
            self._writing[self._begun] = self._tasks.create_task(self._sample_and_score(self._begun))
            self._begun += 1
            self._room -= 1

    async def _sample_and_score(self, index: int) -> None:
        """Write and score one candidate, then begin others in its room."""
        try:
            candidate = await self._write(index)
            if candidate is not None and self._plan.critic is not None:
                await self._score(self._plan.critic, candidate)
        except asyncio.CancelledError:
            if index not in self._drafts.lost or _own_task().uncancel() > 0:
                raise
        if self._agreed():
            raise _StopEarly("agreement")
        self._room += self._plan.stop.successors
        if not _own_task().cancelling():
            self._begin()

    async def _write(self, index: int) -> Candidate | None:
        """Return the finished candidate, or None if it failed."""
        try:
            candidate = await self._policy.sample(
                self._plan.conversation,
                index=index,
                greedy=self._plan.include_greedy and index == 0,
                streamed=self._plan.stop.needs_drafts,
                on_draft=self._note,
            )
        except PolicyError as error:
            self._failed[index] = error
            self._drafts.close(index)
            if isinstance(error, InvalidCandidate):
                self._invalid[index] = error.candidate
                self._written[index] = error.candidate.completion_tokens
            return None
        finally:
            del self._writing[index]
        self._written[index] = candidate.completion_tokens
        self._record(ScoredCandidate(candidate=candidate, step_scores=None, score=None))
        self._check_tokens()
        return candidate

    def _note(self, candidate: Candidate) -> None:
        self._written[candidate.index] = candidate.completion_tokens
        self._drafts.update(candidate)
        self._check_tokens()

    def _abandon(self, index: int) -> bool:
        """Cancel a candidate that is still being written; return False if it ends without that."""
        return not self._full and index in self._writing and self._writing[index].cancel()

    def _check_tokens(self) -> None:
        """Cancel all writing once max_tokens is reached. Finished candidates are still scored."""
        max_tokens = self._plan.stop.max_tokens
        if max_tokens is not None and sum(self._written.values()) >= max_tokens and not self._full:
            self._full = True
            for task in self._writing.values():
                task.cancel()

    async def _score(self, critic: Critic, candidate: Candidate) -> None:
        """Score a candidate and apply the rules on scores. Equal texts are scored and counted once."""
        repeated = candidate.text in self._scorings
        if not repeated:
            self._scorings[candidate.text] = self._tasks.create_task(self._ask(critic, candidate.text))
        scores = await self._scorings[candidate.text]
        if isinstance(scores, CriticError):
            self._unscored[candidate.index] = scores
            return
        own = replace(scores, prompt_tokens=0, cached_tokens=0) if repeated else scores
        score = aggregate(scores.scores, self._plan.aggregation)
        self._record(ScoredCandidate(candidate=candidate, step_scores=own, score=score))
        best = max(self._scored.values())
        self._drafts.abandon_below(best)
        if self._plan.stop.score is not None and best >= self._plan.stop.score:
            raise _StopEarly("score")

    async def _ask(self, critic: Critic, text: str) -> StepScores | CriticError:
        try:
            return await critic.score(self._plan.conversation, text)
        except CriticError as error:
            if self._plan.raise_critic_errors:
                raise
            return error

    def _record(self, entry: ScoredCandidate) -> None:
        self._drafts.close(entry.candidate.index)
        self._entries[entry.candidate.index] = entry
        self._plan.on_progress(
            Progress(n=self._plan.n, finished=len(self._entries), scored=len(self._scored), latest=entry)
        )

    def _agreed(self) -> bool:
        """Return whether the final answers agree; with a critic, a vote weighs its candidate's score."""
        if self._plan.stop.agreement is None:
            return False
        entries = list(self._entries.values())
        weights = [1.0 if self._plan.critic is None else entry.score or 0.0 for entry in entries]
        groups = group_equal_answers([final_answer(entry.candidate.text) for entry in entries])
        votes = [math.fsum(weights[index] for index in group) for group in groups]
        return answers_agree(votes, self._plan.stop.agreement, left=self._plan.n - self._settled)


def _own_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None, "this runs in a task"
    return task
