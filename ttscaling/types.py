"""What test-time scaling talks about: candidates, step scores, selections; and the two seams, Policy and Critic.

No torch, no vllm, no HTTP: `server/` implements the seams over the embedded engines, `remote.py` over any
OpenAI-compatible server.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Aggregation = Literal["mean", "min", "last", "product", "max"]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One chat prompt: OpenAI messages (system, user, assistant; images as `image_url` parts) and how to see them.

    `mm_processor_kwargs` holds `v2pe_delta`, `max_dynamic_patch`, `min_dynamic_patch` where the caller chose them.
    """

    messages: tuple[Mapping[str, Any], ...]
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
    """A critic's reading of one answer: P(+) in [0, 1] for each step, in order."""

    steps: tuple[str, ...]
    scores: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, kw_only=True)
class ScoredCandidate:
    """A candidate with the critic's step scores and their aggregate; None where the critic was not asked."""

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


class Policy(Protocol):
    """Samples answers. Closing the iterator (`aclose`) cancels every candidate still running."""

    def sample(
        self, conversation: Conversation, *, n: int, include_greedy: bool
    ) -> AsyncIterator[Candidate]:
        """Yield n candidates as each finishes, in any order; index 0 is greedy if `include_greedy`."""
        ...


class Critic(Protocol):
    """Scores an answer's steps."""

    name: str

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """P(+) of each step of `answer` to the last user turn of `conversation`; raises CriticError, never guesses."""
        ...


class CriticError(Exception):
    """The critic could not score an answer; the selection falls back as the request says."""
