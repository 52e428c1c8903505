"""The server's chat endpoint from Python, blocking and asynchronous.

    with Client() as client:
        reply = client.chat([user_message("What is the sum of row 2?", ["sheet.png"])], best_of=8)
        print(reply.text, reply.test_time_scaling)

Keyword fields are the request's JSON fields as they are: OpenAI's, vLLM's and this server's. Every failure is
a ClientError (errors.py); a refusal worth another try is retried when the server says (retry.py).
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import httpx
from pydantic import ValidationError

from .completions import Completion
from .errors import ClientError, ServerUnreachable, api_error
from .event_stream import Chunk, Comment, event_of, events
from .retry import delay

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = 600.0  # seconds between two signs of life; eight candidates on a CPU take a while
MAX_RETRIES = 2
_PATH = "v1/chat/completions"


class Client:
    """Blocking. `base_url` is the server's address, with or without /v1; `transport` replaces the network."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = _root(base_url)
        with _failures_told(self._url):
            self._http = httpx.Client(base_url=self._url, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """One completion, whole."""
        with _failures_told(self._url):
            response = self._open({"messages": messages, **fields})
            return Completion.model_validate_json(response.read())

    def stream_chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Iterator[Comment | Chunk]:
        """The same as it is made; `StreamedCompletion` adds the chunks up."""
        with _failures_told(self._url):
            response = self._open({"messages": messages, **fields, "stream": True})
            try:
                yield from events(response.iter_lines())
            finally:
                response.close()

    def _open(self, body: dict[str, Any]) -> httpx.Response:
        """A successful response whose content is still to be read."""
        for attempt in range(MAX_RETRIES + 1):
            response = self._http.send(self._http.build_request("POST", _PATH, **_json(body)), stream=True)
            if response.is_success:
                return response
            content = response.read()
            wait = _wait(response, attempt)
            if wait is None:
                break
            time.sleep(wait)
        raise api_error(response.status_code, content)


class AsyncClient:
    """As `Client`, for asyncio. Cancelling a call closes its connection, and the server stops work on it."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = _root(base_url)
        with _failures_told(self._url):
            self._http = httpx.AsyncClient(base_url=self._url, timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """One completion, whole."""
        with _failures_told(self._url):
            response = await self._open({"messages": messages, **fields})
            return Completion.model_validate_json(await response.aread())

    async def stream_chat(
        self, messages: Sequence[dict[str, Any]], **fields: Any
    ) -> AsyncIterator[Comment | Chunk]:
        """The same as it is made; `StreamedCompletion` adds the chunks up."""
        with _failures_told(self._url):
            response = await self._open({"messages": messages, **fields, "stream": True})
            try:
                async for line in response.aiter_lines():
                    event = event_of(line)
                    if event is not None:
                        yield event
            finally:
                await response.aclose()

    async def _open(self, body: dict[str, Any]) -> httpx.Response:
        for attempt in range(MAX_RETRIES + 1):
            response = await self._http.send(
                self._http.build_request("POST", _PATH, **_json(body)), stream=True
            )
            if response.is_success:
                return response
            content = await response.aread()
            wait = _wait(response, attempt)
            if wait is None:
                break
            await asyncio.sleep(wait)
        raise api_error(response.status_code, content)


def _root(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1")


def _wait(response: httpx.Response, attempt: int) -> float | None:
    return delay(
        response.status_code,
        response.headers,
        attempt=attempt,
        max_retries=MAX_RETRIES,
        jitter=random.random(),
        now=datetime.now(UTC),
    )


def _json(body: dict[str, Any]) -> dict[str, Any]:
    """The request's content and its header. Raises ClientError for what JSON can't say, such as NaN."""
    try:
        content = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ClientError(f"the request can't be written as JSON: {error}") from error
    return {"content": content, "headers": {"Content-Type": "application/json"}}


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    """Failures of the network and of the reply's shape as ClientError."""
    try:
        yield
    except httpx.ConnectError as error:
        raise ServerUnreachable(f"no server answers at {url}; start one with: internvl3 serve") from error
    except httpx.TimeoutException as error:
        raise ServerUnreachable(f"the server at {url} has been silent for too long") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ClientError(f"{url} is no server's address; it must look like {DEFAULT_URL}") from error
    except httpx.HTTPError as error:
        raise ServerUnreachable(f"the connection to {url} broke off: {error}") from error
    except (ValidationError, json.JSONDecodeError) as error:
        raise ClientError(f"the reply of {url} is no chat completion; is it an internvl3 server?") from error
