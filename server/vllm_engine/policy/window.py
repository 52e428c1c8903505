"""An engine client that keeps prompt and answer within the positions that the model was trained on.

vLLM limits the number of tokens, but with V2PE a prompt has fewer positions than tokens. Our processor checks
the positions of prompts with media. This client also checks prompts without media, and it limits answers.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from server.errors import TOO_LONG, ApiError

from .prompt_stats import PromptStats, prompt_stats


class WindowLimitedClient:
    """vLLM's engine client for one request. `prompt_stats` describes its prompt once it was rendered."""

    def __init__(
        self,
        client: Any,
        *,
        window: int,
        tokens_per_tile: int,
        answer: int | None,
        observe_deltas: Callable[[Sequence[float]], None] = lambda deltas: None,
    ) -> None:
        """Keep the limits of one request.

        Args:
            client: vLLM's engine client.
            window: the number of positions that the model was trained on.
            tokens_per_tile: the tokens of one tile.
            answer: the max_tokens that the request demands; None if it takes what is left.
            observe_deltas: gets the deltas of the prompt.
        """
        self._client = client
        self.window = window
        self._tokens_per_tile = tokens_per_tile
        self._answer = answer
        self._observe_deltas = observe_deltas
        self.prompt_stats: PromptStats | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def check(self, prompt: Any) -> PromptStats:
        """Return the stats of the request's prompt.

        Raises:
            ApiError: 400, if the prompt and the request's max_tokens don't fit in the window.
        """
        if self.prompt_stats is None:  # all candidates share one prompt
            self.prompt_stats = prompt_stats(prompt, tokens_per_tile=self._tokens_per_tile)
            self._observe_deltas(self.prompt_stats.deltas)
        if self.window - self.prompt_stats.next_position < (self._answer or 1):
            raise ApiError(
                f"The prompt takes {self.prompt_stats.next_position} positions and the answer up to "
                f"{self._answer or 1}, but the model's window is {self.window}. "
                "Shorten the messages or lower max_tokens.",
                param="messages",
                code=TOO_LONG,
            )
        return self.prompt_stats

    def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Call vLLM's `EngineClient.generate` with max_tokens limited to the positions that are left.

        Raises:
            ApiError: 400, if the prompt and the request's max_tokens don't fit in the window.
        """
        left = self.window - self.check(prompt).next_position
        sampling_params.max_tokens = min(sampling_params.max_tokens or left, left)
        generated: AsyncGenerator[Any, None] = self._client.generate(
            prompt, sampling_params, request_id, **options
        )
        return generated
