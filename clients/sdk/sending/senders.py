"""Carry out the steps of a request over the network: one sender blocks, the other is for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager

import httpx

from clients.sdk.errors import ClientError

from .attempts import reply_to
from .calls import Call, Pause, Send, Steps, T
from .connection import Connection
from .failures import network_errors
from .timeouts import expect_body


class Sender:
    """An open HTTP client that carries steps out and blocks meanwhile."""

    def __init__(self, connection: Connection, transport: httpx.BaseTransport | None) -> None:
        self.connection = connection
        self._http = httpx.Client(transport=transport, **connection.client_arguments())
        self._has_answered = False

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        """Return what the steps return. Raises ClientError."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = self._carry_out(step)
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def pieces(self, call: Call) -> Generator[bytes]:
        """Yield the body of a successful reply while it arrives. Raises ClientError."""
        response = self.run(reply_to(self.connection, call))
        try:
            with self._errors(has_status=True):
                yield from response.iter_bytes()
        finally:
            response.close()

    def _carry_out(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        with self._errors(has_status=False):
            request = self._http.build_request(**step.call.arguments())
            response = self._http.send(request, stream=True)
        self._has_answered = True
        expect_body(response, self.connection.timeouts)
        if not (step.call.keeps_open and response.is_success):
            with self._errors(has_status=True):
                response.read()
        return response

    def _errors(self, *, has_status: bool) -> AbstractContextManager[None]:
        return network_errors(
            self.connection.shown_url,
            self.connection.timeouts,
            has_answered=self._has_answered,
            has_status=has_status,
        )


class AsyncSender:
    """An open HTTP client like `Sender`, for asyncio."""

    def __init__(self, connection: Connection, transport: httpx.AsyncBaseTransport | None) -> None:
        self.connection = connection
        self._http = httpx.AsyncClient(transport=transport, **connection.client_arguments())
        self._has_answered = False

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """Return what the steps return. Raises ClientError."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = await self._carry_out(step)
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def pieces(self, call: Call) -> AsyncGenerator[bytes]:
        """Yield the body of a successful reply while it arrives. Raises ClientError."""
        response = await self.run(reply_to(self.connection, call))
        try:
            with self._errors(has_status=True):
                async for piece in response.aiter_bytes():
                    yield piece
        finally:
            await response.aclose()

    async def _carry_out(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        with self._errors(has_status=False):
            request = self._http.build_request(**step.call.arguments())
            response = await self._http.send(request, stream=True)
        self._has_answered = True
        expect_body(response, self.connection.timeouts)
        if not (step.call.keeps_open and response.is_success):
            with self._errors(has_status=True):
                await response.aread()
        return response

    def _errors(self, *, has_status: bool) -> AbstractContextManager[None]:
        return network_errors(
            self.connection.shown_url,
            self.connection.timeouts,
            has_answered=self._has_answered,
            has_status=has_status,
        )
