"""The types of test-time scaling, such as Candidate, and the protocols Policy and Critic.

This file imports neither torch nor vLLM and speaks no HTTP. `server/` implements the protocols over the
embedded engines, `ttscaling/remote/` over any OpenAI-compatible server.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from .answers.final_answer import final_answer
from .votes import Vote, count_votes

Aggregation = Literal["mean", "min", "last", "product", "max"]
OnCriticError = Literal["self_consistency", "first", "fail"]
Stopped = Literal["score", "agreement", "tokens", "seconds"]
Message = Mapping[str, Any]  # one OpenAI chat message
ABANDONED = "abandoned"  # the finish_reason of a candidate that was ended before it was finished


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One chat prompt: OpenAI messages (images as `image_url` parts) and how the model sees the images.

    `mm_processor_kwargs` holds `v2pe_delta`, `max_dynamic_patch` and `min_dynamic_patch` if the caller chose
    them. `cache_salt` keeps what the engines cache of it apart from conversations with another one; it is
    vLLM's field of this name, as `priority` is: an engine takes requests with a lower number first.
    """

    messages: tuple[Message, ...]
    mm_processor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    cache_salt: str | None = None
    priority: int = 0


@dataclass(frozen=True, kw_only=True)
class TokenUsage:
    """The tokens of both models. `cached` and `critic_cached` are prompt tokens found in a prefix cache."""

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
class Candidate:
    """One answer of the policy. It is finished if it has a finish_reason.

    Candidate 0 is greedy if the method asks for a greedy candidate.
    """

    index: int
    text: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int  # those of prompt_tokens that were found in the prefix cache
    completion_tokens: int

    @property
    def usage(self) -> TokenUsage:
        """The tokens that the policy took."""
        return TokenUsage(
            prompt=self.prompt_tokens, cached=self.cached_tokens, completion=self.completion_tokens
        )


EMPTY_ANSWER = Candidate(
    index=-1, text="", finish_reason=None, prompt_tokens=0, cached_tokens=0, completion_tokens=0
)
"""An answer before its first step: the parent of a first step."""


@dataclass(frozen=True, kw_only=True)
class StepScores:
    """A critic's scores of one answer: P(+) in [0, 1] for each step, in order. There is at least one step."""

    steps: tuple[str, ...]
    scores: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int

    @property
    def usage(self) -> TokenUsage:
        """The tokens that the critic took."""
        return TokenUsage(critic_prompt=self.prompt_tokens, critic_cached=self.cached_tokens)


@dataclass(frozen=True, kw_only=True)
class ScoredCandidate:
    """A candidate with the critic's step scores and their aggregate, which are None if there are none."""

    candidate: Candidate
    step_scores: StepScores | None
    score: float | None

    @cached_property
    def answer(self) -> str | None:
        """The final answer that the candidate states; None if it states none or was ended early."""
        if self.candidate.finish_reason == ABANDONED:
            return None
        return final_answer(self.candidate.text, cut_off=self.candidate.finish_reason == "length")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All candidates in index order, and the index of the chosen one.

    Candidates that failed, that were never started, or that were cancelled before they had any text are
    missing. Candidates that were ended early have the finish_reason ABANDONED and are never chosen.
    """

    selected: int
    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None = None  # the rule that ended it before all candidates were finished and scored
    degraded: str | None = None  # the failures: candidates that failed, or that the critic could not score
    failed: int = 0  # how many candidates, or continuations of a search, failed or are invalid
    valid: bool = True  # False if the policy called all candidates invalid; the first of them is then chosen
    usage: TokenUsage = field(default_factory=TokenUsage)  # of failed and cancelled calls, too, if known

    @property
    def winner(self) -> ScoredCandidate:
        """The chosen candidate."""
        return next(entry for entry in self.candidates if entry.candidate.index == self.selected)

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The final answers that the candidates state, see `count_votes`.

        `best_of_n` and `beam_search` don't choose by them.
        """
        # A candidate without a score has no vote while another has one.
        voters = [entry for entry in self.candidates if entry.score is not None] or self.candidates
        return count_votes(
            [entry.candidate.index for entry in voters],
            [entry.answer for entry in voters],
            [entry.score for entry in voters],
        )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A report on a running selection, made when a candidate is finished and again when it is scored."""

    n: int
    finished: int  # candidates that the policy has finished
    scored: int  # finished candidates that the critic has scored
    latest: ScoredCandidate  # the candidate that this report is about; its score is None until it is scored


OnDraft = Callable[[Candidate], None]  # takes a candidate as far as it is written


def ignore_draft(candidate: Candidate) -> None:
    """Do nothing with a draft: the default for callers that need no drafts."""


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
        """Return one finished answer; `index` tells samples apart. Cancelling the call ends the generation.

        `on_draft` gets the answer as far as it is written: again and again while it is written (finish_reason
        None) if `streamed`, and once when the call is cancelled (ABANDONED). A policy may leave out both.
        Raises PolicyError if only this answer failed. Any other error ends the whole selection.
        """
        ...


class StepPolicy(Protocol):
    """Writes an answer step by step, for a search."""

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """Return one more step of the answer that begins with `parent`; `index` tells samples apart.

        `parent` is EMPTY_ANSWER, or joins earlier steps and has the index of the last of them. The text and
        tokens of the returned candidate are those of the new step, without the step separator at its end. Its
        finish_reason is None if the answer can go on after this step, else it says why the answer ended.
        Raises PolicyError.
        """
        ...


class Critic(Protocol):
    """Scores the steps of an answer."""

    @property
    def name(self) -> str:
        """The name of the critic's model, as replies state it."""
        ...

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """Return P(+) of each step of `answer` to `conversation`.

        The score of a step doesn't depend on the steps behind it, which `StopRule.abandon_losers` relies on.
        Raises CriticError if there is no score; a critic never guesses one.
        """
        ...


class ModelError(Exception):
    """A model failed. `usage` holds the tokens that this took, as far as they are known."""

    def __init__(self, *args: object, usage: TokenUsage | None = None) -> None:
        super().__init__(*args)
        self.usage = usage or TokenUsage()


class PolicyError(ModelError):
    """The policy could not answer."""


class InvalidCandidate(PolicyError):
    """A finished candidate breaks the rules of its request. It is chosen only if no other was finished."""

    def __init__(self, candidate: Candidate, reason: str) -> None:
        super().__init__(reason, usage=candidate.usage)
        self.candidate = candidate


class OutOfTime(PolicyError):
    """The allowed seconds were over before anything was finished."""


class CriticError(ModelError):
    """The critic could not score an answer. What follows is the caller's choice (`on_critic_error`)."""
