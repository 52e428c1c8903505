"""Tell whoever waits for an engine's request how many tokens the engine has read and written for it."""

import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from server.engine_interface import CountTokens
from server.telemetry.tracing import CURRENT_TRACE
from ttscaling.types import TokenUsage

from .generation_spans import GenerationSpans
from .internals.engine_client import report_usage
from .policy_metrics import PolicyMetrics

GATHERED = 32  # tokens


class TokenAccounts:
    """The requests of one policy's engine whose tokens somebody counts."""

    def __init__(self, client: Any) -> None:
        """`client` is vLLM's `AsyncLLM`."""
        self._counts: dict[str, CountTokens] = {}

        def count_for(request_id: str, usage: TokenUsage) -> None:
            count = self._counts.get(request_id)
            if count is not None:
                count(usage)

        report_usage(client, count_for)

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


class GatheredTokens:
    """Gathers the tokens that are written one by one, because passing one on takes longer than adding it up.

    What counts them (the metrics, the limits of a key) then is late by fewer than `GATHERED` tokens.
    """

    def __init__(self, count: CountTokens) -> None:
        """`count` gets the tokens."""
        self._count = count
        self._written = 0

    def take(self, usage: TokenUsage) -> None:
        """Pass what was read on at once, and what was written once there is enough of it."""
        if usage.prompt:
            self._count(usage)
            return
        self._written += usage.completion
        if self._written >= GATHERED:
            self.pass_on()

    def pass_on(self) -> None:
        """Pass on what was gathered."""
        if self._written:
            self._count(TokenUsage(completion=self._written))
            self._written = 0


class MeteredClient:
    """vLLM's engine client for one request, whose tokens are counted as the engine takes them."""

    def __init__(
        self, client: Any, accounts: TokenAccounts, metrics: PolicyMetrics, kind: str, count: CountTokens
    ) -> None:
        """`kind` is that of the generations in the metrics: "plain" or "candidate"."""
        self._client = client
        self._accounts = accounts
        self._metrics = metrics
        self._kind = kind
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Yield the outputs of vLLM's `EngineClient.generate`."""
        spans = GenerationSpans(CURRENT_TRACE.get(), self._kind)
        gathered = GatheredTokens(self._count)
        generation = self._metrics.generation(
            self._kind, choices=sampling_params.n or 1, count=spans.counting(gathered.take)
        )
        is_complete = False
        try:
            options |= spans.options
            with self._accounts.counting(request_id, generation.take) as name:
                async with aclosing(
                    self._client.generate(prompt, sampling_params, name, **options)
                ) as outputs:
                    async for output in outputs:
                        is_complete = output.finished and not _is_aborted(output)
                        yield output
        finally:
            gathered.pass_on()
            if not is_complete:
                generation.cancel()
            spans.end(is_complete=is_complete)


def _is_aborted(output: Any) -> bool:
    return any(choice.finish_reason == "abort" for choice in output.outputs)
