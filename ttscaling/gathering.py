"""Candidates as they come, each scored the moment it ends, until all are there or a rule says enough.

What all methods share. An answer that several candidates gave is scored once. However this ends, early,
cancelled or by an error, no sampling and no scoring is left running.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from .aggregate import aggregate
from .answers import final_answer, groups
from .drafts import Drafts
from .stopping import StopRule, agreed
from .types import (
    ABANDONED,
    Aggregation,
    Candidate,
    Conversation,
    Critic,
    CriticError,
    Draft,
    FailedCandidate,
    OutOfTime,
    Policy,
    PolicyError,
    Progress,
    ScoredCandidate,
    StepScores,
    Stopped,
)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Candidates in index order, scored or not; at least one is finished. `faults`: what failed, in words."""

    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None
    faults: tuple[str, ...]

    @property
    def finished(self) -> list[ScoredCandidate]:
        """Those that may be chosen."""
        return [entry for entry in self.candidates if entry.candidate.finish_reason != ABANDONED]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a conversation's candidates are made and scored; no critic: not scored.

    With `critic_must_work` the first CriticError is raised; else that candidate is left without a score.
    """

    conversation: Conversation
    critic: Critic | None
    n: int
    include_greedy: bool
    aggregation: Aggregation = "mean"
    critic_must_work: bool = False
    stop: StopRule
    on_progress: Callable[[Progress], None]

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, not {self.n}")


async def gather(policy: Policy, plan: Plan) -> Gathered:
    """Sample, score, stop. A candidate that fails alone is left out and named in `faults`.

    Raises PolicyError if no candidate was finished, and the critic's and the policy's own errors.
    """
    stopped: Stopped | None = None
    try:
        async with (
            asyncio.timeout(plan.stop.max_seconds),
            asyncio.TaskGroup() as tasks,
            aclosing(
                policy.sample(plan.conversation, n=plan.n, include_greedy=plan.include_greedy)
            ) as answers,
        ):
            state = _State(plan, tasks)
            async for answer in answers:
                stopped = state.take(answer)
                if stopped is not None:
                    break  # what is finished is still scored
    except TimeoutError:
        stopped = "seconds"
    except ExceptionGroup as group:  # the task group's wrapping; callers expect the failure itself
        enough = next((error for error in group.exceptions if isinstance(error, _Enough)), None)
        if enough is None:
            raise group.exceptions[0] from None
        stopped = enough.reason
    return state.result(stopped)


class _Enough(Exception):
    """Cancels all that still runs, from within a scoring."""

    def __init__(self, reason: Stopped) -> None:
        self.reason = reason


class _State:
    """What has come so far."""

    def __init__(self, plan: Plan, tasks: asyncio.TaskGroup) -> None:
        self._plan = plan
        self._tasks = tasks
        self._entries: dict[int, ScoredCandidate] = {}
        self._same: dict[str, list[Candidate]] = {}  # candidates by their text
        self._scores: dict[str, StepScores] = {}
        self._drafts = Drafts(plan.critic, plan.conversation, plan.aggregation, plan.stop, tasks)
        self._failed: dict[int, str] = {}
        self._unscored: dict[int, CriticError] = {}

    def take(self, answer: Candidate | Draft | FailedCandidate) -> Stopped | None:
        """Note what the policy yielded; the reason if no more is wanted of it."""
        if isinstance(answer, Draft):
            self._drafts.update(answer)
        elif isinstance(answer, FailedCandidate):
            self._drafts.close(answer.index)
            self._failed[answer.index] = answer.reason
        else:
            self._drafts.close(answer.index)
            self._finish(answer)
        most = self._plan.stop.max_tokens
        written = sum(entry.candidate.completion_tokens for entry in self._entries.values())
        if most is not None and written + self._drafts.tokens >= most:
            return "tokens"
        return "agreement" if self._plan.critic is None and self._agreed() else None

    def result(self, stopped: Stopped | None) -> Gathered:
        """Raises PolicyError if there is nothing to choose from."""
        if self._complete:
            stopped = None  # the rule was met by the last one
        drafts = self._drafts.rest(ABANDONED if self._entries else "length")
        entries = [*self._entries.values(), *self._drafts.ended, *drafts]
        faults = [f"candidate {index} failed: {reason}" for index, reason in sorted(self._failed.items())]
        if not entries:
            if stopped == "seconds":
                raise OutOfTime(f"no candidate was finished within {self._plan.stop.max_seconds} seconds")
            raise PolicyError(f"no candidate was finished: {'; '.join(faults)}")
        faults += [
            f"candidate {index} has no score: {error}" for index, error in sorted(self._unscored.items())
        ]
        in_order = sorted(entries, key=lambda entry: entry.candidate.index)
        return Gathered(candidates=tuple(in_order), stopped=stopped, faults=tuple(faults))

    @property
    def _complete(self) -> bool:
        """Every candidate has come to its end, and to its score."""
        scored = self._plan.critic is None or all(
            entry.score is not None or index in self._unscored for index, entry in self._entries.items()
        )
        return scored and len(self._entries) + len(self._failed) + len(self._drafts.ended) == self._plan.n

    def _finish(self, candidate: Candidate) -> None:
        self._record(ScoredCandidate(candidate=candidate, step_scores=None, score=None))
        if self._plan.critic is None:
            return
        same = self._same.setdefault(candidate.text, [])
        same.append(candidate)
        if candidate.text in self._scores:
            self._score(candidate, self._scores[candidate.text], again=True)
            self._apply_rules()
        elif len(same) == 1:
            self._tasks.create_task(self._judge(self._plan.critic, candidate.text))

    async def _judge(self, critic: Critic, text: str) -> None:
        try:
            scores = await critic.score(self._plan.conversation, text)
        except CriticError as error:
            if self._plan.critic_must_work:
                raise
            self._unscored |= {candidate.index: error for candidate in self._same.pop(text)}
            return
        self._scores[text] = scores
        for number, candidate in enumerate(self._same[text]):
            self._score(candidate, scores, again=number > 0)
        self._apply_rules()

    def _apply_rules(self) -> None:
        """What a new score may decide."""
        best = max(entry.score for entry in self._entries.values() if entry.score is not None)
        self._drafts.abandon_below(best)
        if self._plan.stop.score is not None and best >= self._plan.stop.score:
            raise _Enough("score")
        if self._agreed():
            raise _Enough("agreement")

    def _score(self, candidate: Candidate, scores: StepScores, *, again: bool) -> None:
        """`again`: a score that was already there; it took no tokens."""
        own = replace(scores, prompt_tokens=0, cached_tokens=0) if again else scores
        score = aggregate(scores.scores, self._plan.aggregation)
        self._record(ScoredCandidate(candidate=candidate, step_scores=own, score=score))

    def _record(self, entry: ScoredCandidate) -> None:
        self._entries[entry.candidate.index] = entry
        scored = sum(known.score is not None for known in self._entries.values())
        self._plan.on_progress(
            Progress(n=self._plan.n, finished=len(self._entries), scored=scored, latest=entry)
        )

    def _agreed(self) -> bool:
        """Whether the final answers so far agree enough, each vote weighing what its critic gave it."""
        if self._plan.stop.agreement is None:
            return False
        entries = list(self._entries.values())
        weights = [1.0 if self._plan.critic is None else entry.score or 0.0 for entry in entries]
        voting = groups([final_answer(entry.candidate.text) for entry in entries])
        votes = [math.fsum(weights[place] for place in members) for members in voting]
        return agreed(votes, self._plan.stop.agreement)
