"""What the HTTP layer needs of an inference engine. `engine_vllm` implements it; HTTP tests fake it.

Bodies and replies are OpenAI's, as dicts and as server-sent events (text that ends with a blank line). What a
client caused is an ApiError.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from model.images.tiling import TilingConfig
from ttscaling.types import Conversation, Critic, Policy, StepPolicy, StepScores, TokenUsage

from .errors import ApiError
from .request_media import Videos


class PromptPolicy(Policy, StepPolicy, Protocol):
    """A policy that is bound to one rendered prompt, and what it took."""

    @property
    def prompt_tokens(self) -> int:
        """Of the prompt; 0 before anything was written."""
        ...

    @property
    def usage(self) -> TokenUsage:
        """By all it was asked so far, finished or not."""
        ...


# Chooses among candidates: the chosen ones' indices, best first. The engine replies with exactly those, in
# that order.
ChooseCandidates = Callable[[PromptPolicy], Awaitable[Sequence[int]]]


class Engine(Protocol):
    """A loaded policy and, where there is one, its critic."""

    @property
    def critic(self) -> Critic | None:
        """None where the server runs without a critic."""
        ...

    @property
    def alive(self) -> bool:
        """False once the policy's process has died: nothing will be answered any more."""
        ...

    @property
    def critic_alive(self) -> bool:
        """False once the critic's process has died: every score fails. True where there is no critic."""
        ...

    @property
    def max_model_len(self) -> int:
        """The policy's window in tokens."""
        ...

    @property
    def tiling(self) -> TilingConfig:
        """How the policy's checkpoint cuts an image."""
        ...

    @property
    def critic_shares_tiles(self) -> bool:
        """Whether tiles cut for the policy are what the critic sees, too."""
        ...

    async def complete(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None = None, *, videos: Videos
    ) -> dict[str, Any]:
        """The reply to a chat request whose video parts name `videos`. Cancelling aborts what was started for
        it. With `choose`, the prompt is rendered once, `choose` samples from it, and the reply holds what it
        chose; an exception of `choose` passes through.
        """
        ...

    async def stream(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None = None, *, videos: Videos
    ) -> AsyncGenerator[str, None]:
        """The same as events, the last of them `data: [DONE]`.
        An error before the first event is raised, by this or with the first; a later one is an event itself.
        """
        ...

    async def score(
        self, conversation: Conversation, answers: Sequence[Sequence[str]], *, videos: Videos
    ) -> Sequence[StepScores | ApiError]:
        """The critic's reading of each answer, given as its steps; the messages' video parts name `videos`.

        Where an answer can't be scored, why. Cancelling aborts what was started for it.
        """
        ...

    def metrics(self) -> bytes:
        """The engines' own metrics in Prometheus' text format, names unchanged."""
        ...

    def close(self) -> None:
        """Stop the engines' processes."""
        ...
