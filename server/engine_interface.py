"""The interface between the HTTP layer and the engines of a policy and a critic.

`server/vllm_engine` implements both on vLLM, `server/remote_critic` asks another server for scores, and the
HTTP tests use fake engines. Request bodies and replies have OpenAI's format: dicts, or server-sent events as
text that ends with a blank line. The methods raise ApiError for every mistake of a client.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from model.images.tiling import TilingConfig
from ttscaling.types import Conversation, StepScores, TokenUsage

from .converted_request import ConvertedRequest
from .engine_steps import EngineSteps
from .errors import ApiError
from .prompts import ChooseCandidates, RenderedPrompt
from .request_media import Media

CountTokens = Callable[[TokenUsage], None]  # gets the tokens of each engine request as soon as it has ended


def ignore_tokens(usage: TokenUsage) -> None:
    """Do nothing with the tokens: the default for callers that need no account."""


class CriticEngine(Protocol):
    """A critic that lives by itself: in a process of this server, or in another server.

    Its tokens are counted also if a scoring fails or is cancelled.
    """

    @property
    def name(self) -> str:
        """The name of the critic's model, as replies state it."""
        ...

    @property
    def alive(self) -> bool:
        """False while every score fails."""
        ...

    @property
    def comes_back(self) -> bool:
        """Whether a critic that isn't alive can be so again without a restart of this server."""
        ...

    @property
    def tile_size(self) -> int | None:
        """The side of its tiles in pixels; None as long as it is unknown."""
        ...

    @property
    def v2pe_delta(self) -> float | None:
        """The delta with which it sees images if nobody names one; None as long as it is unknown."""
        ...

    @property
    def setup(self) -> Mapping[str, Any] | None:
        """What its scores depend on, as JSON; None as long as it is unknown."""
        ...

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        """Return whether the scores of an answer's first steps stay the same when the answer goes on.

        `vision` holds the mm_processor_kwargs of the request. False if a longer answer could be seen with
        another delta.
        """
        ...

    async def score(
        self, conversation: Conversation, answer: str, *, media: Media, count: CountTokens
    ) -> StepScores:
        """Return the step scores of a candidate. It is seen with the critic's delta as `--critic-delta` says.

        Every failure is a CriticError, except for cancellation, which aborts the scoring.

        Args:
            conversation: the question, whose image and video parts hold keys of `media`.
            answer: the text of the candidate. An empty one lets the critic read the question ahead.
            media: the decoded images and videos by handle.
            count: gets the tokens of every request that the critic's engine has read.
        """
        ...

    async def score_answers(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        media: Media,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        """Return the step scores of each answer, or an ApiError for an answer that it can't score.

        The images are seen as `conversation` says, with the critic's own delta if it names none. Cancelling
        this call aborts all scoring that it has started. `answers` are lists of steps; the other arguments
        are those of `score`.
        """
        ...


class PolicyEngine(Protocol):
    """A loaded policy."""

    @property
    def alive(self) -> bool:
        """False once the policy's process has died. Then the engine can't answer any request."""
        ...

    @property
    def max_model_len(self) -> int:
        """The policy's context window, in tokens."""
        ...

    @property
    def setup(self) -> Mapping[str, Any]:
        """What its answers depend on, as JSON."""
        ...

    @property
    def tiling(self) -> TilingConfig:
        """The policy checkpoint's rules for cutting an image into tiles."""
        ...

    @property
    def adapters(self) -> Collection[str]:
        """The names of its LoRA adapters, which requests may have as their model."""
        ...

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Load the LoRA adapter in a folder, under a name that may be used as soon as this returns.

        Raises ApiError (400) if it can't be used, if its name is taken, or if there is no room for it.
        """
        ...

    async def unload_adapter(self, name: str) -> None:
        """Take an adapter's name away, and free its room when the last request that uses it has ended.

        Raises ApiError (404) if there is no such adapter.
        """
        ...

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> dict[str, Any]:
        """Return the reply to a chat request.

        With `choose`, the engine renders the prompt once, `choose` samples candidates from it, and the reply
        holds the chosen ones. An exception that `choose` raises passes through. Cancelling this call aborts
        all generation that it has started.

        Args:
            body: the request, whose image and video parts hold keys of `media`.
            choose: samples and chooses candidates; None for one plain generation.
            media: the decoded images and videos by handle.
            count: gets the tokens that the policy's engine takes, as it takes them.
        """
        ...

    async def stream(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> AsyncGenerator[str, None]:
        """Return the reply of `complete` as server-sent events. The last event is `data: [DONE]`.

        An error before the first event is raised, either by this call or by the request for the first event.
        A later error becomes an event.
        """
        ...

    async def complete_text(
        self, body: Mapping[str, Any], *, count: CountTokens
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        """Return the reply to a request for text completions, or its events if the body asks for a stream.

        `count` gets the tokens that the engine takes, as it takes them. Errors are those of `stream`.
        """
        ...

    def convert_response(self, body: Mapping[str, Any]) -> ConvertedRequest:
        """Return a request of OpenAI's Responses API as a chat request. It generates nothing."""
        ...

    def convert_message(self, body: Mapping[str, Any], *, counts_tokens: bool) -> ConvertedRequest:
        """Return a request of Anthropic's Messages API, which may ask for its number of tokens alone."""
        ...

    def api_schemas(self) -> Mapping[str, Any]:
        """Return the JSON schemas of requests and replies by name."""
        ...

    async def render(self, body: Mapping[str, Any], *, media: Media) -> RenderedPrompt:
        """Return the prompt of a chat request without generating anything. The arguments are `complete`'s."""
        ...

    async def tokenize(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Return the tokens of a text that is no conversation. Special tokens in it are read as such."""
        ...

    def token_texts(self, token_ids: Sequence[int]) -> Sequence[str]:
        """Return each token as it stands in the policy's vocabulary."""
        ...

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, special tokens included."""
        ...


@dataclass(frozen=True, kw_only=True)
class Engines:
    """What one server runs: a policy, a critic, or both."""

    policy: PolicyEngine | None
    critic: CriticEngine | None
    tiling: TilingConfig  # the policy's rules for cutting images into tiles; without a policy the critic's
    max_model_len: int  # the policy's context window in tokens; without a policy the critic's
    metrics: Callable[[], bytes]  # returns vLLM's metrics of all engines in Prometheus' text format
    close: Callable[[], Awaitable[None]]  # stops the engines' processes; nothing else waits for them
    steps: Mapping[str, EngineSteps] = field(default_factory=dict)  # by title, of the engines in this server

    @property
    def setup(self) -> dict[str, Any]:
        """What answers and scores depend on, as JSON: the `policy` and the `critic`, as far as they exist."""
        setups = {
            "policy": None if self.policy is None else self.policy.setup,
            "critic": None if self.critic is None else self.critic.setup,
        }
        return {title: dict(setup) for title, setup in setups.items() if setup is not None}
