"""The clients of the server, one blocking and one for asyncio.

    with Client() as client:
        answer = client.ask("What is the sum of row 2?", images="sheet.png", best_of=8)
        print(answer.text, answer.step_scores)

Further keyword arguments become the request's JSON fields unchanged: OpenAI's, vLLM's and this server's.
Every failure is a ClientError (errors.py). A request that failed is sent again if that is worth it and
repeats nothing at the server (retry.py).
"""

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Self

import httpx

from .answer_stream import AnswerStream, AsyncAnswerStream
from .answers import Answer
from .batches.clients import AsyncBatches, Batches
from .chat_calls import answer_steps, completion_steps, stream_call
from .completions import Completion
from .event_stream import Chunk, Comment, EventReader
from .files.clients import AsyncFiles, Files
from .messages import Medium
from .questions import Delta, FileIds, Frames, question
from .sending.connection import DEFAULT_URL, MAX_RETRIES, connection_to
from .sending.failures import shape_errors
from .sending.senders import AsyncSender, Sender
from .sending.timeouts import SILENCE_SECONDS, Timeouts


class Client:
    """A blocking client. `base_url` is the server's address, with or without /v1.

    Without `api_key`, the environment variable INTERNVL3_API_KEY holds the key, if the server needs one.
    `headers` go with every request. `timeout` is in seconds of silence, or names several. `transport`
    replaces the network.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts = SILENCE_SECONDS,
        max_retries: int = MAX_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = connection_to(
            base_url, api_key=api_key, headers=headers, timeout=timeout, max_retries=max_retries
        )
        self._sender = Sender(self._connection, transport)
        self.files = Files(self._sender)
        self.batches = Batches(self._sender)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def ask(
        self,
        text: str,
        *,
        images: Medium | Iterable[Medium] | None = None,
        video: Medium | Iterable[Medium] | None = None,
        files: FileIds = (),
        best_of: int | None = None,
        delta: Delta | None = None,
        frames: Frames | None = None,
        **fields: Any,
    ) -> Answer:
        """Return the answer to a question. The arguments are those of `question`. Raises ClientError."""
        body = question(
            text,
            images=images,
            video=video,
            files=files,
            best_of=best_of,
            delta=delta,
            frames=frames,
            **fields,
        )
        return self._sender.run(answer_steps(self._connection, body))

    def stream_ask(
        self,
        text: str,
        *,
        images: Medium | Iterable[Medium] | None = None,
        video: Medium | Iterable[Medium] | None = None,
        files: FileIds = (),
        best_of: int | None = None,
        delta: Delta | None = None,
        frames: Frames | None = None,
        **fields: Any,
    ) -> AnswerStream:
        """Return the answer as a stream: iterate over its events, and take its `answer` afterwards.

        The arguments are those of `question`. The iteration raises ClientError.
        """
        body = question(
            text,
            images=images,
            video=video,
            files=files,
            best_of=best_of,
            delta=delta,
            frames=frames,
            **fields,
        )
        return AnswerStream(self.stream_chat(**body), self._connection.shown_url)

    def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """Return the completion once it is finished. Raises ClientError."""
        body = {"messages": messages, **fields}
        return self._sender.run(completion_steps(self._connection, body))

    def stream_chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Generator[Comment | Chunk]:
        """Yield the completion's chunks while it is written; `StreamedCompletion` adds them up.

        Comments on the progress of the candidates come before them. Raises ClientError.
        """
        call, reader = stream_call({"messages": messages, **fields}), EventReader()
        with shape_errors(self._connection.shown_url, "chat completion"):
            with closing(self._sender.pieces(call)) as pieces:
                for piece in pieces:
                    yield from reader.feed(piece)
            yield from reader.end()


class AsyncClient:
    """A client like `Client`, for asyncio.

    Cancelling a call closes its connection, and the server then cancels its work.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts = SILENCE_SECONDS,
        max_retries: int = MAX_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = connection_to(
            base_url, api_key=api_key, headers=headers, timeout=timeout, max_retries=max_retries
        )
        self._sender = AsyncSender(self._connection, transport)
        self.files = AsyncFiles(self._sender)
        self.batches = AsyncBatches(self._sender)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._sender.close()

    async def ask(
        self,
        text: str,
        *,
        images: Medium | Iterable[Medium] | None = None,
        video: Medium | Iterable[Medium] | None = None,
        files: FileIds = (),
        best_of: int | None = None,
        delta: Delta | None = None,
        frames: Frames | None = None,
        **fields: Any,
    ) -> Answer:
        """Return the answer to a question. The arguments are those of `question`. Raises ClientError."""
        body = question(
            text,
            images=images,
            video=video,
            files=files,
            best_of=best_of,
            delta=delta,
            frames=frames,
            **fields,
        )
        return await self._sender.run(answer_steps(self._connection, body))

    def stream_ask(
        self,
        text: str,
        *,
        images: Medium | Iterable[Medium] | None = None,
        video: Medium | Iterable[Medium] | None = None,
        files: FileIds = (),
        best_of: int | None = None,
        delta: Delta | None = None,
        frames: Frames | None = None,
        **fields: Any,
    ) -> AsyncAnswerStream:
        """Return the answer as a stream: iterate over its events, and take its `answer` afterwards.

        The arguments are those of `question`. The iteration raises ClientError.
        """
        body = question(
            text,
            images=images,
            video=video,
            files=files,
            best_of=best_of,
            delta=delta,
            frames=frames,
            **fields,
        )
        return AsyncAnswerStream(self.stream_chat(**body), self._connection.shown_url)

    async def chat(self, messages: Sequence[dict[str, Any]], **fields: Any) -> Completion:
        """Return the completion once it is finished. Raises ClientError."""
        body = {"messages": messages, **fields}
        return await self._sender.run(completion_steps(self._connection, body))

    async def stream_chat(
        self, messages: Sequence[dict[str, Any]], **fields: Any
    ) -> AsyncGenerator[Comment | Chunk]:
        """Yield the completion's chunks while it is written; `StreamedCompletion` adds them up.

        Comments on the progress of the candidates come before them. Raises ClientError.
        """
        call, reader = stream_call({"messages": messages, **fields}), EventReader()
        with shape_errors(self._connection.shown_url, "chat completion"):
            async with aclosing(self._sender.pieces(call)) as pieces:
                async for piece in pieces:
                    for event in reader.feed(piece):
                        yield event
            for event in reader.end():
                yield event
