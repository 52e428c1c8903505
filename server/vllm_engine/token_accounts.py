"""Tell whoever waits for an engine's request how many tokens the engine has read and written for it.

vLLM's output processor updates its statistics from every output of the engine, whatever becomes of the
request. The account stands at the same place, so it holds what vLLM's own counters hold.
"""

import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from server.engine_interface import CountTokens
from ttscaling.types import TokenUsage


class TokenAccounts:
    """The requests of one policy's engine whose tokens somebody counts."""

    def __init__(self, client: Any) -> None:
        """`client` is vLLM's `AsyncLLM`, whose output processor is changed."""
        self._counts: dict[str, CountTokens] = {}
        processor = client.output_processor
        update = processor._update_stats_from_output

        def update_and_count(request: Any, output: Any, *others: Any, **more: Any) -> None:
            count = self._counts.get(request.external_req_id)
            if count is not None:
                count(_usage(output, begins=request.is_prefilling))
            update(request, output, *others, **more)

        processor._update_stats_from_output = update_and_count

    @contextmanager
    def counting(self, request_id: str, count: CountTokens) -> Iterator[str]:
        """Count the tokens of a request while the block runs, and yield the id to send it with.

        It is another one than `request_id` only while a request with the same id runs.
        """
        if request_id in self._counts:
            request_id = f"{request_id}-{secrets.token_hex(4)}"
        self._counts[request_id] = count
        try:
            yield request_id
        finally:
            del self._counts[request_id]


class MeteredClient:
    """vLLM's engine client for one request, whose tokens are counted as the engine takes them."""

    def __init__(self, client: Any, accounts: TokenAccounts, count: CountTokens) -> None:
        self._client = client
        self._accounts = accounts
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Yield the outputs of vLLM's `EngineClient.generate`."""
        with self._accounts.counting(request_id, self._count) as name:
            async with aclosing(self._client.generate(prompt, sampling_params, name, **options)) as outputs:
                async for output in outputs:
                    yield output


def _usage(output: Any, *, begins: bool) -> TokenUsage:
    """Return the tokens of one output of the engine, as vLLM's `IterationStats` counts them."""
    prefill = output.prefill_stats if begins else None
    return TokenUsage(
        prompt=0 if prefill is None else prefill.num_prompt_tokens,
        cached=0 if prefill is None else prefill.num_cached_tokens,
        completion=len(output.new_token_ids),
    )
