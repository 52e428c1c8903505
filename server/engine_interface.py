"""The interface between the HTTP layer and an inference engine.

`server/vllm_engine/engine.py` implements it on vLLM, and the HTTP tests use a fake engine. Request bodies and
replies have OpenAI's format: dicts, or server-sent events as text that ends with a blank line. The methods
raise ApiError for every mistake of a client.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model.images.tiling import TilingConfig
from ttscaling.types import Conversation, Critic, Policy, StepPolicy, StepScores, TokenUsage

from .errors import ApiError
from .request_media import Videos


class PromptPolicy(Policy, StepPolicy, Protocol):
    """A policy that is bound to one rendered prompt and counts the tokens that its requests take."""

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens in the prompt; 0 before the engine has written the first token."""
        ...

    @property
    def usage(self) -> TokenUsage:
        """The usage of all requests so far, finished or not."""
        ...


# Samples candidates from the policy and returns the indices of the chosen ones, best first. The engine
# replies with exactly these candidates, in this order.
ChooseCandidates = Callable[[PromptPolicy], Awaitable[Sequence[int]]]

CountTokens = Callable[[TokenUsage], None]  # gets the tokens of each engine request as soon as it has ended


def ignore_tokens(usage: TokenUsage) -> None:
    """Do nothing with the tokens: the default for callers that need no account."""


class EngineCritic(Critic, Protocol):
    """A critic whose tokens are counted also if a scoring fails or is cancelled."""

    async def score(
        self, conversation: Conversation, answer: str, count: CountTokens = ignore_tokens
    ) -> StepScores:
        """See `Critic.score`. `count` gets the tokens of every request that the critic's engine has read."""
        ...

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        """Return whether the scores of an answer's first steps stay the same when the answer goes on.

        `vision` holds the mm_processor_kwargs of the request. False if a longer answer could be seen with
        another delta.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RenderedPrompt:
    """A chat request's prompt as the policy would read it, and the room that is left for an answer."""

    token_ids: Sequence[int]
    vision: Mapping[str, Any] | None  # the reply's `vision`; None without images and videos
    positions: int  # that the prompt takes, which is the position of the answer's first token
    window: int  # positions that the checkpoint was trained on
    max_tokens: int  # of an answer


class Engine(Protocol):
    """A loaded policy and its critic. The critic is optional."""

    @property
    def critic(self) -> EngineCritic | None:
        """The critic, or None if the server runs without one."""
        ...

    @property
    def alive(self) -> bool:
        """False once the policy's process has died. Then the engine can't answer any request."""
        ...

    @property
    def critic_alive(self) -> bool:
        """False once the critic's process has died. Then every score fails. True if there is no critic."""
        ...

    @property
    def max_model_len(self) -> int:
        """The policy's context window, in tokens."""
        ...

    @property
    def setup(self) -> Mapping[str, Any]:
        """What answers and scores depend on, as JSON: the `policy` and, if there is one, the `critic`."""
        ...

    @property
    def tiling(self) -> TilingConfig:
        """The policy checkpoint's rules for cutting an image into tiles."""
        ...

    @property
    def critic_shares_tiles(self) -> bool:
        """True if the critic's tiles have the size of the policy's, so that both can use the same tiles."""
        ...

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        videos: Videos,
        count: CountTokens,
    ) -> dict[str, Any]:
        """Return the reply to a chat request.

        With `choose`, the engine renders the prompt once, `choose` samples candidates from it, and the reply
        holds the chosen ones. An exception that `choose` raises passes through. Cancelling this call aborts
        all generation that it has started.

        Args:
            body: the request, whose video parts hold keys of `videos`.
            choose: samples and chooses candidates; None for one plain generation.
            videos: the decoded videos by handle.
            count: gets the tokens that the policy's engine takes, as it takes them.
        """
        ...

    async def stream(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        videos: Videos,
        count: CountTokens,
    ) -> AsyncGenerator[str, None]:
        """Return the reply of `complete` as server-sent events. The last event is `data: [DONE]`.

        An error before the first event is raised, either by this call or by the request for the first event.
        A later error becomes an event.
        """
        ...

    async def score(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        videos: Videos,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        """Return the critic's step scores for each answer, or an ApiError for an answer that it can't score.

        Cancelling this call aborts all scoring that it has started.

        Args:
            conversation: the question, whose video parts hold keys of `videos`.
            answers: the answers, each as a list of its steps.
            videos: the decoded videos by handle.
            count: gets the tokens of every request that the critic's engine has read.
        """
        ...

    async def render(self, body: Mapping[str, Any], *, videos: Videos) -> RenderedPrompt:
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

    def metrics(self) -> bytes:
        """Return vLLM's metrics of all engines in Prometheus' text format, with vLLM's names."""
        ...

    async def close(self) -> None:
        """Stop the engines' processes. Nothing else on the event loop waits for them."""
        ...
