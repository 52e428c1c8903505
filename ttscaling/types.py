"""What test-time scaling talks about: candidates, step scores, selections; and its seams, Policy and Critic.

No torch, no vllm, no HTTP: `server/` implements the seams over the embedded engines, `remote.py` over any
OpenAI-compatible server.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Aggregation = Literal["mean", "min", "last", "product", "max"]
OnCriticError = Literal["self_consistency", "first", "fail"]
Stopped = Literal["score", "agreement", "tokens", "seconds"]
Message = Mapping[str, Any]  # one OpenAI chat message
ABANDONED = "abandoned"  # finish_reason of a candidate that was ended before it was finished


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One chat prompt: OpenAI messages (images as `image_url` parts) and how to see the images.

    `mm_processor_kwargs` holds `v2pe_delta`, `max_dynamic_patch`, `min_dynamic_patch` where the caller chose
    them.
    """

    messages: tuple[Message, ...]
    mm_processor_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One finished answer of the policy. Candidate 0 is the greedy one where the method asks for it."""

    index: int
    text: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int  # of prompt_tokens, those found in the prefix cache
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is written so far of a candidate (its finish_reason is None), and the way to end it.

    Once `abandon` has been called, nothing more of this candidate is yielded.
    """

    candidate: Candidate
    abandon: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class FailedCandidate:
    """A candidate that could not be written, while others could."""

    index: int
    reason: str  # without its index


@dataclass(frozen=True, kw_only=True)
class StepScores:
    """A critic's reading of one answer: P(+) in [0, 1] for each step, in order; at least one step."""

    steps: tuple[str, ...]
    scores: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, kw_only=True)
class ScoredCandidate:
    """A candidate with the critic's step scores and their aggregate; None where the critic gave none."""

    candidate: Candidate
    step_scores: StepScores | None
    score: float | None


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Tokens through both models; `cached` of the prompts' were found in a prefix cache."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    critic_prompt: int = 0
    critic_cached: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All candidates in index order, and the index of the chosen one.

    Those that failed, or were cancelled without a word written, are missing; those ended early have
    finish_reason ABANDONED and are never chosen.
    """

    selected: int
    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None = None  # what ended it before all candidates were finished and scored
    degraded: str | None = None  # what failed on the way: candidates, or the critic on some or all
    spent: Spent | None = None  # by a search; else what the candidates took together

    @property
    def winner(self) -> ScoredCandidate:
        return next(entry for entry in self.candidates if entry.candidate.index == self.selected)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a selection stands: reported when a candidate is finished and again when it is scored."""

    n: int
    finished: int  # candidates the policy has completed
    scored: int  # of those, candidates the critic has scored
    latest: ScoredCandidate  # whom this report is about; its score is None until the critic has spoken


class Policy(Protocol):
    """Samples answers."""

    def sample(
        self, conversation: Conversation, *, n: int, include_greedy: bool
    ) -> AsyncGenerator[Candidate | Draft | FailedCandidate, None]:
        """Yield n candidates, indices 0 to n-1, each as it finishes; index 0 is greedy if `include_greedy`.

        A candidate that fails alone comes as FailedCandidate. Drafts, as steps get finished, are optional.
        An async generator: closing it (`aclose`) cancels every candidate still running. Raises PolicyError
        where nothing more can come.
        """
        ...


class StepPolicy(Protocol):
    """Writes an answer step by step, as a search wants it."""

    async def extend(
        self, conversation: Conversation, written: str, *, index: int, greedy: bool
    ) -> Candidate:
        """One more step of the answer that begins with `written` (empty at first).

        The candidate's text is what was added, without the step separator at its end; its finish_reason is
        None if a step ended there, else why the answer did. `index` tells samples apart. Raises PolicyError.
        """
        ...


class Critic(Protocol):
    """Scores an answer's steps."""

    @property
    def name(self) -> str:
        """The model's name, as replies state it."""
        ...

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """P(+) of each step of `answer` to `conversation`; raises CriticError, never guesses."""
        ...


class PolicyError(Exception):
    """The policy could not answer."""


class OutOfTime(PolicyError):
    """The seconds allowed were over before anything was finished."""


class CriticError(Exception):
    """The critic could not score an answer; the selection falls back as the request says."""
