"""An engine client that keeps prompt and answer inside the window of positions the model was trained on.

vLLM counts tokens. With V2PE they are more than positions, and the processor checks those of prompts with
media; prompts of text alone, and answers without max_tokens, are left to here.
"""

from collections.abc import AsyncGenerator
from typing import Any

from server.errors import TOO_LONG, ApiError

from .prompt_stats import PromptStats, prompt_stats


class WindowLimitedClient:
    """vLLM's engine client for one request; `sight` is what its prompt turned out to be."""

    def __init__(self, client: Any, *, window: int, tokens_per_tile: int, answer: int | None) -> None:
        """`answer`: the most tokens that the request asked for, if it did."""
        self._client = client
        self._window = window
        self._tokens_per_tile = tokens_per_tile
        self._answer = answer
        self.sight: PromptStats | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """vLLM's `EngineClient.generate`; raises ApiError (400) for what is beyond the window."""
        if self.sight is None:  # else another candidate of the same prompt
            self.sight = prompt_stats(prompt, tokens_per_tile=self._tokens_per_tile)
        left = self._window - self.sight.next_position
        if left < (self._answer or 1):
            raise ApiError(
                f"The prompt takes {self.sight.next_position} positions and the answer up to "
                f"{self._answer or 1}; the model's window is {self._window}. "
                "Shorten the messages or lower max_tokens.",
                param="messages",
                code=TOO_LONG,
            )
        sampling_params.max_tokens = min(sampling_params.max_tokens or left, left)
        generated: AsyncGenerator[Any, None] = self._client.generate(
            prompt, sampling_params, request_id, **options
        )
        return generated
