"""The clients of the server's chat endpoint, one blocking and one asynchronous.

    with Client() as client:
        reply = client.chat([user_message("What is the sum of row 2?", ["sheet.png"])], best_of=8)
        print(reply.text, reply.test_time_scaling)

Keyword arguments become the request's JSON fields unchanged: OpenAI's, vLLM's and this server's. Every
failure is a ClientError (errors.py). A refusal that is worth another try is retried (retry.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from typing import Any, Self

import httpx

from .completions import Completion
from .event_stream import Chunk, Comment, event_of, events
from .exchange import (
    DEFAULT_URL,
    chat_request,
    client_errors,
    read_completion,
    seconds_to_retry,
    server_root,
)

DEFAULT_TIMEOUT = 600.0  # seconds without a byte; eight candidates on a CPU can take minutes


class Client:
    """A blocking client. `base_url` is the server's address, with or without /v1.

    `timeout` is in seconds, and `transport` replaces the network.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = server_root(base_url)
        with client_errors(self._url):
            self._http = httpx.Client(base_url=self._url, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """Return the completion once it is finished. Raises ClientError."""
        with client_errors(self._url):
            return read_completion(self._send(chat_request(messages, fields)).read())

    def stream_chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Iterator[Comment | Chunk]:
        """Yield the completion's chunks while it is written; `StreamedCompletion` adds them up.

        Comments on the progress of the candidates come before them. Raises ClientError.
        """
        with client_errors(self._url):
            response = self._send(chat_request(messages, fields | {"stream": True}))
            try:
                yield from events(response.iter_lines())
            finally:
                response.close()

    def _send(self, request: dict[str, Any]) -> httpx.Response:
        """Return a successful response whose content is still to be read."""
        for attempt in count():
            response = self._http.send(self._http.build_request(**request), stream=True)
            if response.is_success:
                break
            response.read()
            time.sleep(seconds_to_retry(response, attempt))
        return response


class AsyncClient:
    """A client like `Client`, for asyncio.

    Cancelling a call closes its connection, and the server then cancels its work.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = server_root(base_url)
        with client_errors(self._url):
            self._http = httpx.AsyncClient(base_url=self._url, timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """Return the completion once it is finished. Raises ClientError."""
        with client_errors(self._url):
            response = await self._send(chat_request(messages, fields))
            return read_completion(await response.aread())

    async def stream_chat(
        self, messages: Sequence[dict[str, Any]], **fields: Any
    ) -> AsyncIterator[Comment | Chunk]:
        """Yield the completion's chunks while it is written; see `Client.stream_chat`. Raises ClientError."""
        with client_errors(self._url):
            response = await self._send(chat_request(messages, fields | {"stream": True}))
            try:
                async for line in response.aiter_lines():
                    event = event_of(line)
                    if event is not None:
                        yield event
            finally:
                await response.aclose()

    async def _send(self, request: dict[str, Any]) -> httpx.Response:
        """Return a successful response whose content is still to be read."""
        for attempt in count():
            response = await self._http.send(self._http.build_request(**request), stream=True)
            if response.is_success:
                break
            await response.aread()
            await asyncio.sleep(seconds_to_retry(response, attempt))
        return response
