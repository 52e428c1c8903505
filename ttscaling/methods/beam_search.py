"""Beam search over steps: the critic scores beginnings of answers, and the best ones are continued.

This is the step-level beam search with a process reward model of Snell et al. (arXiv 2408.03314), as
search-and-learn and its_hub do it. Here the critic scores the complete beginning: its steps are VisualPRM's,
and their scores are aggregated as for a finished answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ttscaling.selection.aggregation import aggregate
from ttscaling.selection.choosing import choose, highest_scored
from ttscaling.selection.gathering import in_index_order
from ttscaling.selection.plan import GatheredCandidates
from ttscaling.selection.stopping import StopRule
from ttscaling.selection.task_groups import run_all
from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    EMPTY_ANSWER,
    Aggregation,
    Candidate,
    Conversation,
    Critic,
    CriticError,
    OnCriticError,
    OutOfTime,
    PolicyError,
    Progress,
    ScoredCandidate,
    Selection,
    StepPolicy,
    StepScores,
    Stopped,
    TokenUsage,
)


@dataclass(frozen=True, kw_only=True)
class Beam:
    """The size of a search: at each step, `n` continuations are written and the `width` best are kept.

    An answer is cut off after `max_steps` steps. Raises ValueError if a field is below 1, or `width` above
    `n`.
    """

    n: int = 8
    width: int = 2
    max_steps: int = 32

    def __post_init__(self) -> None:
        for name in ("n", "width", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width > self.n:
            raise ValueError(f"width must not be above n: {self.width} beams of {self.n} continuations")


async def beam_search(
    policy: StepPolicy,
    critic: Critic,
    conversation: Conversation,
    *,
    beam: Beam,
    include_greedy: bool = True,
    aggregation: Aggregation = "mean",
    on_critic_error: OnCriticError = "fail",
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Search until `width` answers are finished or none can be continued, and choose the best finished one.

    The beams share the `n` continuations of a step evenly. If several continuations lead to the same text,
    one is kept, so beams differ. The first continuation of the search is greedy if `include_greedy`; all
    others are sampled.

    The candidates of the selection are the finished answers. Each has the index of its last continuation. If
    `max_steps` or a rule ends the search before any answer is finished, the candidates are the last kept
    beginnings, with the finish_reason "length". `stop` heeds only `score`, `max_tokens` and `max_seconds`
    here.

    Continuations that fail are left out. Errors of the critic are treated as in `best_of_n`: a beginning
    without a score is continued only if no beginning has one. If all continuations of a step fail, the search
    ends with the answers and beginnings that it has. Raises PolicyError if it has none.
    """
    rule = stop or StopRule()
    search = _Search(policy, critic, conversation, beam, aggregation, on_critic_error == "fail", on_progress)
    stopped: Stopped | None = None
    try:
        async with asyncio.timeout(rule.max_seconds):
            for number in range(beam.max_steps):
                extended = await search.step(greedy=include_greedy and number == 0)
                stopped = search.enough(rule)
                if stopped or not extended or not search.open_beams or len(search.finished) >= beam.width:
                    break
    except TimeoutError:
        stopped = "seconds"
    return replace(choose(search.result(stopped), highest_scored, on_critic_error), usage=search.usage)


@dataclass
class _Search:
    """The beams of one search, and the answers that are finished."""

    policy: StepPolicy
    critic: Critic
    conversation: Conversation
    beam: Beam
    aggregation: Aggregation
    raise_critic_errors: bool
    on_progress: Callable[[Progress], None]
    open_beams: list[ScoredCandidate] = field(init=False)
    finished: list[ScoredCandidate] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    continuations: int = 0  # how many were begun; the next one gets this index
    failed: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)

    def __post_init__(self) -> None:
        self.open_beams = [ScoredCandidate(candidate=EMPTY_ANSWER, step_scores=None, score=None)]

    async def step(self, *, greedy: bool) -> bool:
        """Continue every beam, keep the best beginnings, and move finished answers to `finished`.

        Returns False if no beam could be continued. The beams are then unchanged.
        """
        n, beams = self.beam.n, len(self.open_beams)
        parents = [self.open_beams[number * beams // n].candidate for number in range(n)]
        first, self.continuations = self.continuations, self.continuations + len(parents)
        extending = (
            self._extend(parent, first + number, greedy=greedy and number == 0)
            for number, parent in enumerate(parents)
        )
        written = [candidate for candidate in await run_all(extending) if candidate is not None]
        if not written:
            if self.open_beams[0].candidate is EMPTY_ANSWER:
                why = self.faults[-1] if self.faults else "all steps were empty"
                raise PolicyError(f"no continuation could be written: {why}")
            return False
        different: dict[tuple[str, bool], Candidate] = {}
        for candidate in written:
            different.setdefault((candidate.text, candidate.finish_reason is None), candidate)
        texts = list(dict.fromkeys(candidate.text for candidate in different.values()))
        scores = dict(zip(texts, await run_all(self._score(text) for text in texts), strict=True))
        entries = [self._entry(candidate, scores[candidate.text]) for candidate in different.values()]
        self.open_beams = _top(
            [entry for entry in entries if entry.candidate.finish_reason is None], self.beam.width
        )
        for entry in entries:
            if entry.candidate.finish_reason is not None:
                self._finish(entry)
        return True

    def enough(self, rule: StopRule) -> Stopped | None:
        """Return the rule that ends the search after this step, or None."""
        scores = [entry.score for entry in self.finished if entry.score is not None]
        if rule.score is not None and scores and max(scores) >= rule.score:
            return "score"
        return "tokens" if rule.max_tokens is not None and self.usage.completion >= rule.max_tokens else None

    def result(self, stopped: Stopped | None) -> GatheredCandidates:
        """Return the answers to choose from. Raises OutOfTime if not even one step was finished."""
        entries = self.finished
        if not entries:
            entries = [_cut(entry) for entry in self.open_beams if entry.candidate is not EMPTY_ANSWER]
        if_none = OutOfTime("no step was finished within the allowed seconds")
        return in_index_order(entries, stopped, self.faults, self.failed, if_none=if_none)

    async def _extend(self, parent: Candidate, index: int, *, greedy: bool) -> Candidate | None:
        """Return the parent with one more step, or None if the step failed or is blank."""
        try:
            step = await self.policy.extend(self.conversation, parent, index=index, greedy=greedy)
        except PolicyError as error:
            self.failed += 1
            self.faults.append(f"continuation {index} failed: {error}")
            return None
        self.usage += TokenUsage(
            prompt=step.prompt_tokens, cached=step.cached_tokens, completion=step.completion_tokens
        )
        blank = not step.text.strip()
        if blank and step.finish_reason is None:
            return None
        return Candidate(
            index=index,
            text=parent.text if blank else SEPARATOR.join(filter(None, (parent.text, step.text))),
            finish_reason=step.finish_reason,
            prompt_tokens=parent.prompt_tokens + step.prompt_tokens,
            cached_tokens=parent.cached_tokens + step.cached_tokens,
            completion_tokens=parent.completion_tokens + step.completion_tokens,
        )

    async def _score(self, text: str) -> StepScores | None:
        try:
            scores = await self.critic.score(self.conversation, text)
        except CriticError as error:
            if self.raise_critic_errors:
                raise
            self.faults.append(f"a beginning has no score: {error}")
            return None
        self.usage += TokenUsage(critic_prompt=scores.prompt_tokens, critic_cached=scores.cached_tokens)
        return scores

    def _entry(self, candidate: Candidate, scores: StepScores | None) -> ScoredCandidate:
        score = None if scores is None else aggregate(scores.scores, self.aggregation)
        return ScoredCandidate(candidate=candidate, step_scores=scores, score=score)

    def _finish(self, entry: ScoredCandidate) -> None:
        self.finished.append(entry)
        scored = sum(known.score is not None for known in self.finished)
        count = len(self.finished)
        self.on_progress(Progress(n=max(self.beam.width, count), finished=count, scored=scored, latest=entry))


def _top(entries: Sequence[ScoredCandidate], width: int) -> list[ScoredCandidate]:
    """Return the best entries; ties keep their order. Entries without a score count if none has one."""
    scored = [entry for entry in entries if entry.score is not None]
    return sorted(scored or entries, key=lambda entry: -(entry.score or 0.0))[:width]


def _cut(entry: ScoredCandidate) -> ScoredCandidate:
    return replace(entry, candidate=replace(entry.candidate, finish_reason="length"))
