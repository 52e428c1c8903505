"""Read a request's JSON body within its limits, and stop working when the client leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from server.errors import ApiError
from server.media.in_flight import HeldBytes
from server.protocol.strict_json import parse_object
from server.services.service import Service
from server.settings import Settings

from .held_bytes import held_bytes

T = TypeVar("T")
LARGE = 2**20  # bytes of a body from which on it is parsed in a thread


async def read_json(request: Request, settings: Settings) -> dict[str, Any]:
    """Return the body as a JSON object. Raises ApiError if it is too large, too slow or no JSON object."""
    if media_type(request) != "application/json":
        raise ApiError(
            "Send the body with the content type application/json.",
            status=415,
            code="unsupported_content_type",
        )
    raw = bytes(await read_bytes(request, settings, limit=settings.max_body_bytes))
    return parse_object(raw) if len(raw) < LARGE else await asyncio.to_thread(parse_object, raw)


def media_type(request: Request) -> str:
    """Return the type of a request's body without its parameters, such as `application/json`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_bytes(request: Request, settings: Settings, *, limit: int) -> bytearray:
    """Return the body. Raises ApiError if it is compressed, too slow, or has more than `limit` bytes."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(
            "Compressed bodies are not accepted. Send the body uncompressed.",
            status=415,
            code="unsupported_content_encoding",
        )
    try:
        async with asyncio.timeout(settings.body_seconds):
            return await _read(request, limit, held_bytes(request.scope))
    except TimeoutError:
        raise ApiError(
            f"The body did not arrive within {settings.body_seconds:g} seconds. Send a smaller one.",
            status=408,
            code="body_timeout",
        ) from None


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or cancel it and raise ClientDisconnect if the client leaves first.

    The request's body must have been read before.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request, limit: int, held: HeldBytes) -> bytearray:
    too_large = ApiError(
        f"The body is larger than {limit} bytes. Send fewer or smaller media, or send them by URL.",
        status=413,
        code="request_too_large",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        held.take(len(piece))
        body += piece
        if len(body) > limit:
            raise too_large
    return body


def service_of(request: Request) -> Service:
    """Return what the app that the request came to does for its clients."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
