"""One prompt of a chat request: how the policy reads it, and the policy that answers it again and again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ttscaling.types import Policy, StepPolicy, TokenUsage


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


@dataclass(frozen=True, kw_only=True)
class RenderedPrompt:
    """A chat request's prompt as the policy would read it, and the room that is left for an answer."""

    token_ids: Sequence[int]
    vision: Mapping[str, Any] | None  # the reply's `vision`; None without images and videos
    positions: int  # that the prompt takes, which is the position of the answer's first token
    window: int  # positions that the checkpoint was trained on
    max_tokens: int  # of an answer
