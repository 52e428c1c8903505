"""Write candidates at the same time or in waves, and score each as soon as it ends, until a rule is met.

All methods but beam search gather candidates here. An answer that several candidates gave is scored once.
When a selection ends (also early, by cancellation or by an error), no sampling and no scoring is left
running.
"""

import asyncio
from dataclasses import replace

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
from .decisions import first_wave, met_rule, successors
from .drafts import Drafts
from .plan import GatheredCandidates, GatherPlan, in_index_order
from .task_groups import raise_first_failure


async def run_plan(policy: Policy, plan: GatherPlan) -> GatheredCandidates:
    """Return the candidates of a plan, see `gather_candidates`, without the tokens that they took."""
    stopped: Stopped | None = None
    gathering = _Gathering(policy, plan)
    time_cap = asyncio.timeout(plan.stop.max_seconds)
    try:
        async with time_cap:
            stopped = await gathering.run()
    except TimeoutError:
        if not time_cap.expired():  # the policy or the critic raised it
            raise
        stopped = "seconds"
    return gathering.result(stopped)


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
        self._room = first_wave(plan)  # how many candidates may be begun now
        self._writing: dict[int, asyncio.Task[None]] = {}
        self._written: dict[int, int] = {}  # tokens of each candidate, as far as the policy has reported them
        self._cut_off = False  # whether the candidates are drafts that the token cap ended
        self._decided = False  # whether a rule has decided; what ends after that doesn't change the choice
        self._full = False  # whether the candidates have written max_tokens
        self._entries: dict[int, ScoredCandidate] = {}
        self._scorings: dict[str, asyncio.Task[StepScores | CriticError]] = {}  # by the answer's text
        self._drafts = Drafts(
            plan.critic,
            plan.conversation,
            plan.aggregation,
            plan.stop,
            start=lambda scoring: self._tasks.create_task(scoring),
            abandon=self._abandon,
        )
        self._failed: dict[int, PolicyError] = {}
        self._invalid: dict[int, Candidate] = {}
        self._unscored: dict[int, CriticError] = {}

    async def run(self) -> Stopped | None:
        """Return None when all candidates are finished and scored, or else the rule that ended it."""
        try:
            with raise_first_failure(preferred=_StopEarly):
                async with self._tasks:
                    self._begin()
                if self._full and not self._entries and not self._invalid and self._plan.critic is not None:
                    await self._score_drafts(self._plan.critic)
        except _StopEarly as enough:
            return enough.reason
        return "tokens" if self._full else None

    def result(self, stopped: Stopped | None) -> GatheredCandidates:
        """Return the candidates to choose from. Raises PolicyError if there are none."""
        if self._complete and not self._cut_off:
            stopped = None  # the last candidate met the rule, so the rule ended nothing
        faults = [f"candidate {index} failed: {reason}" for index, reason in sorted(self._failed.items())]
        unscored = sorted(self._unscored.items())
        faults += [f"candidate {index} has no score: {error}" for index, error in unscored]
        valid = bool(self._entries or not self._invalid)
        if not valid:
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
        gathered = in_index_order(entries, stopped, faults, len(self._failed), if_none=if_none)
        return replace(gathered, valid=valid)

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
        left = self._plan.n - self._settled
        reason = met_rule(self._plan, self._entries.values(), left=left)
        if reason is not None:
            self._decided = True
            raise _StopEarly(reason)
        if not _own_task().cancelling():
            unsettled = self._begun - self._settled
            self._room += successors(self._plan, self._entries.values(), left=left, unsettled=unsettled)
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
            self._drafts.cancel_scorings()
            for task in self._writing.values():
                task.cancel()

    async def _score_drafts(self, critic: Critic) -> None:
        """Score the drafts that the token cap has ended before any candidate was finished."""
        self._cut_off, self._tasks = True, asyncio.TaskGroup()
        async with self._tasks:
            for draft in self._drafts.close_all():
                candidate = replace(draft, finish_reason="length")
                self._record(ScoredCandidate(candidate=candidate, step_scores=None, score=None))
                self._tasks.create_task(self._score(critic, candidate))

    async def _score(self, critic: Critic, candidate: Candidate) -> None:
        """Score a candidate, and end the drafts that can't win. Equal texts are scored and counted once."""
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
        self._drafts.abandon_below(max(self._scored.values()))

    async def _ask(self, critic: Critic, text: str) -> StepScores | CriticError:
        try:
            return await critic.score(self._plan.conversation, text)
        except CriticError as error:
            if self._plan.raise_critic_errors:
                raise
            return error

    def _record(self, entry: ScoredCandidate) -> None:
        if self._decided:  # a candidate that is finished only now counts as ended early
            if entry.candidate.index not in self._entries:
                self._drafts.update(replace(entry.candidate, finish_reason=ABANDONED))
            return
        self._drafts.close(entry.candidate.index)
        self._entries[entry.candidate.index] = entry
        self._plan.on_progress(
            Progress(n=self._plan.n, finished=len(self._entries), scored=len(self._scored), latest=entry)
        )


def _own_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None, "this runs in a task"
    return task
