"""What test-time scaling talks about: candidates, step scores, selections; and its seams, Policy and Critic.

No torch, no vllm, no HTTP: `server/` implements the seams over the embedded engines, `remote.py` over any
OpenAI-compatible server.
"""

from collections.abc import Callable, Mapping
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
    """One answer of the policy, finished if it has a finish_reason. Candidate 0 is the greedy one where the
    method asks for it.
    """

    index: int
    text: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int  # of prompt_tokens, those found in the prefix cache
    completion_tokens: int


EMPTY_ANSWER = Candidate(
    index=-1, text="", finish_reason=None, prompt_tokens=0, cached_tokens=0, completion_tokens=0
)
"""What an answer begins with, before its first step."""


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
class TokenUsage:
    """Tokens through both models; `cached` of the prompts' were found in a prefix cache."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    critic_prompt: int = 0
    critic_cached: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            completion=self.completion + other.completion,
            critic_prompt=self.critic_prompt + other.critic_prompt,
            critic_cached=self.critic_cached + other.critic_cached,
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All candidates in index order, and the index of the chosen one.

    Those that failed, were never started, or were cancelled without a word written, are missing; those ended
    early have finish_reason ABANDONED and are never chosen.
    """

    selected: int
    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None = None  # what ended it before all candidates were finished and scored
    degraded: str | None = None  # what failed on the way: candidates, or the critic on some or all
    failed: int = 0  # candidates, or a search's continuations, that failed or are invalid
    usage: TokenUsage | None = None  # by a search, what it dropped included

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


OnDraft = Callable[[Candidate], None]  # is told what is written so far of a candidate


def ignore_draft(candidate: Candidate) -> None:
    """The note of a caller who needs none."""


class Policy(Protocol):
    """Samples answers."""

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        """One finished answer; `index` tells samples apart. Cancelling ends its generation.

        `on_draft` gets the answer so far, with finish_reason None: while it is written if `streamed`, and in
        any case when it is cancelled. Both are optional for a policy. Raises PolicyError where this answer
        alone failed; other errors end the whole selection.
        """
        ...


class StepPolicy(Protocol):
    """Writes an answer step by step, as a search wants it."""

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """One more step of the answer that begins with `parent`: NOTHING, or what was made of such steps.

        Of these, `index` is the last one's. The candidate's text and tokens are what was added, without the
        step separator at its end; its finish_reason is None if a step ended there, else why the answer did.
        `index` tells samples apart. Raises PolicyError.
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


class InvalidCandidate(PolicyError):
    """A finished candidate that breaks the request's own rules: chosen only if no other was finished."""

    def __init__(self, candidate: Candidate, reason: str) -> None:
        super().__init__(reason)
        self.candidate = candidate


class OutOfTime(PolicyError):
    """The seconds allowed were over before anything was finished."""


class CriticError(Exception):
    """The critic could not score an answer; the selection falls back as the request says."""
