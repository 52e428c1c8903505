"""Beam search over steps: the critic judges every step's continuations, the best beginnings are continued.

As search-and-learn and its_hub do it (step-level beam search with a process reward model, Snell et al., arXiv
2408.03314), with the whole beginning judged: its steps are VisualPRM's, aggregated as for a finished answer.
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
    """How wide: each step `n` continuations are written, and the `width` best beginnings are kept of them.

    An answer of `max_steps` steps is cut off there. Raises ValueError for what makes no sense.
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
    """Search until `width` answers are finished or nothing is left to continue; the best finished one wins.

    The beams share each step's `n` continuations evenly. Of continuations that lead to the same text one is
    kept, so beams differ. The very first continuation is greedy, the others are sampled. Candidates of the
    selection are the finished answers, each under its last continuation's index; where a cap or `max_steps`
    comes first, the beginnings kept last, with finish_reason "length". Of the rules, `score`, `max_tokens`
    and `max_seconds` have a meaning here. Errors are treated as in `best_of_n`: continuations that fail are
    left out, unscored ones are continued only if none has a score; if all of a step fail, the search ends
    with what it has. Raises PolicyError if that is nothing.
    """
    rule = stop or StopRule()
    search = _Search(policy, critic, conversation, beam, aggregation, on_critic_error == "fail", on_progress)
    stopped: Stopped | None = None
    try:
        async with asyncio.timeout(rule.max_seconds):
            for number in range(beam.max_steps):
                went_on = await search.step(greedy=include_greedy and number == 0)
                stopped = search.enough(rule)
                if stopped or not went_on or not search.open_beams or len(search.finished) >= beam.width:
                    break
    except TimeoutError:
        stopped = "seconds"
    return replace(choose(search.result(stopped), highest_scored, on_critic_error), usage=search.usage)


@dataclass
class _Search:
    """The beams, and what has been finished."""

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
    asked: int = 0
    failed: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)

    def __post_init__(self) -> None:
        self.open_beams = [ScoredCandidate(candidate=EMPTY_ANSWER, step_scores=None, score=None)]

    async def step(self, *, greedy: bool) -> bool:
        """Every beam gets continued; the best beginnings stay, what is finished is put aside.

        False if none could be continued: the beginnings are then as they were.
        """
        n, beams = self.beam.n, len(self.open_beams)
        parents = [self.open_beams[number * beams // n].candidate for number in range(n)]
        first, self.asked = self.asked, self.asked + len(parents)
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
        scores = dict(zip(texts, await run_all(self._judge(text) for text in texts), strict=True))
        entries = [self._entry(candidate, scores[candidate.text]) for candidate in different.values()]
        self.open_beams = _top(
            [entry for entry in entries if entry.candidate.finish_reason is None], self.beam.width
        )
        for entry in entries:
            if entry.candidate.finish_reason is not None:
                self._finish(entry)
        return True

    def enough(self, rule: StopRule) -> Stopped | None:
        """Whether one of the rules ends the search after this step."""
        scores = [entry.score for entry in self.finished if entry.score is not None]
        if rule.score is not None and scores and max(scores) >= rule.score:
            return "score"
        return "tokens" if rule.max_tokens is not None and self.usage.completion >= rule.max_tokens else None

    def result(self, stopped: Stopped | None) -> GatheredCandidates:
        """What to choose from. Raises PolicyError if not even one step was finished."""
        entries = self.finished
        if not entries:
            entries = [_cut(entry) for entry in self.open_beams if entry.candidate is not EMPTY_ANSWER]
        if_none = OutOfTime("no step was finished within the seconds allowed")
        return in_index_order(entries, stopped, self.faults, self.failed, if_none=if_none)

    async def _extend(self, parent: Candidate, index: int, *, greedy: bool) -> Candidate | None:
        """The parent with one more step; None if that failed, or is blank."""
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

    async def _judge(self, text: str) -> StepScores | None:
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
    """The best, ties in order; unscored ones only if there are no others."""
    scored = [entry for entry in entries if entry.score is not None]
    return sorted(scored or entries, key=lambda entry: -(entry.score or 0.0))[:width]


def _cut(entry: ScoredCandidate) -> ScoredCandidate:
    return replace(entry, candidate=replace(entry.candidate, finish_reason="length"))
