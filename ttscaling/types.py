"""What test-time scaling talks about: candidates, step scores, selections; and its seams, Policy and Critic.

No torch, no vllm, no HTTP: `server/` implements the seams over the embedded engines, `remote.py` over any
OpenAI-compatible server.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Aggregation = Literal["mean", "min", "last", "product", "max"]
OnCriticError = Literal["self_consistency", "first", "fail"]
Message = Mapping[str, Any]  # one OpenAI chat message


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One chat prompt: OpenAI messages (images as `image_url` parts) and how to see the images.

    `mm_processor_kwargs` holds `v2pe_delta`, `max_dynamic_patch`, `min_dynamic_patch` where the caller chose
    them.
    """

    messages: tuple[Message, ...]
    mm_processor_kwargs: Mapping[str, Any]


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
class Selection:
    """All candidates in index order, and the index of the chosen one."""

    selected: int
    candidates: tuple[ScoredCandidate, ...]
    stopped: Literal["score", "tokens", "seconds"] | None = None
    degraded: str | None = None  # why a critic's scores could not be used, if they could not

    @property
    def winner(self) -> ScoredCandidate:
        return self.candidates[self.selected]


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
    ) -> AsyncGenerator[Candidate, None]:
        """Yield n candidates, indices 0 to n-1, each as it finishes; index 0 is greedy if `include_greedy`.

        An async generator: closing it (`aclose`) cancels every candidate still running. Raises PolicyError.
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


class CriticError(Exception):
    """The critic could not score an answer; the selection falls back as the request says."""
