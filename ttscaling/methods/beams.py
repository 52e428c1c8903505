"""The beams of a beam search: continue the kept beginnings, score what was written, and keep the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ttscaling.selection.aggregation import aggregate
from ttscaling.selection.plan import GatheredCandidates, in_index_order
from ttscaling.selection.stopping import StopRule
from ttscaling.selection.task_groups import run_all
from ttscaling.selection.token_counting import CountingCritic, CountingStepPolicy
from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    EMPTY_ANSWER,
    Aggregation,
    Candidate,
    Conversation,
    CriticError,
    OutOfTime,
    PolicyError,
    Progress,
    ScoredCandidate,
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


@dataclass
class Beams:
    """The beams of one search, and the answers that are finished."""

    policy: CountingStepPolicy
    critic: CountingCritic
    conversation: Conversation
    beam: Beam
    aggregation: Aggregation
    raise_critic_errors: bool
    on_progress: Callable[[Progress], None]
    beams: list[ScoredCandidate] = field(init=False)
    greedy_text: str | None = None  # the beginning that was written greedily, while it goes on
    finished: list[ScoredCandidate] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    continuations: int = 0  # how many were begun; the next one gets this index
    failed: int = 0

    def __post_init__(self) -> None:
        self.beams = [ScoredCandidate(candidate=EMPTY_ANSWER, step_scores=None, score=None)]

    @property
    def usage(self) -> TokenUsage:
        """The tokens that the search took so far, those of dropped continuations included."""
        return self.policy.usage + self.critic.usage

    @property
    def open_beams(self) -> list[ScoredCandidate]:
        """The kept beginnings that aren't finished."""
        return [entry for entry in self.beams if _is_open(entry)]

    async def step(self) -> bool:
        """Continue every open beam, and keep the best of the finished beams and the new beginnings.

        Returns False if no beam could be continued. The beams are then unchanged.
        """
        open_beams, n = self.open_beams, self.beam.n
        parents = [open_beams[number * len(open_beams) // n].candidate for number in range(n)]
        greedy = next((number for number in range(n) if parents[number].text == self.greedy_text), None)
        first, self.continuations = self.continuations, self.continuations + n
        written = await run_all(
            self._extend(parent, first + number, greedy=number == greedy)
            for number, parent in enumerate(parents)
        )
        following = None if greedy is None else written[greedy]
        self.greedy_text = None if following is None else following.text
        entries = await self._score_different([candidate for candidate in written if candidate is not None])
        if not entries:
            if open_beams[0].candidate is EMPTY_ANSWER:
                why = self.faults[-1] if self.faults else "all steps were empty"
                raise PolicyError(f"no continuation could be written: {why}")
            return False
        self.beams = _top(
            [*(entry for entry in self.beams if not _is_open(entry)), *entries], self.beam.width
        )
        for entry in entries:
            if not _is_open(entry):
                self._finish(entry)
        return True

    def cut_off(self) -> None:
        """Finish the open beams as answers that were cut off."""
        for entry in self.open_beams:
            self._finish(_cut(entry))

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

    async def _score_different(self, written: Sequence[Candidate]) -> list[ScoredCandidate]:
        """Return the continuations that differ from each other and from the finished answers, scored."""
        finished = {entry.candidate.text for entry in self.finished}
        different: dict[tuple[str, bool], Candidate] = {}
        for candidate in written:
            is_open = candidate.finish_reason is None
            if is_open or candidate.text not in finished:
                different.setdefault((candidate.text, is_open), candidate)
        texts = list(dict.fromkeys(candidate.text for candidate in different.values()))
        scores = dict(zip(texts, await run_all(self._score(text) for text in texts), strict=True))
        return [self._entry(candidate, scores[candidate.text]) for candidate in different.values()]

    async def _score(self, text: str) -> StepScores | None:
        try:
            scores = await self.critic.score(self.conversation, text)
        except CriticError as error:
            if self.raise_critic_errors:
                raise
            self.faults.append(f"a beginning has no score: {error}")
            return None
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


def _is_open(entry: ScoredCandidate) -> bool:
    return entry.candidate.finish_reason is None


def _cut(entry: ScoredCandidate) -> ScoredCandidate:
    return replace(entry, candidate=replace(entry.candidate, finish_reason="length"))
