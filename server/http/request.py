"""Reading a request and following its client: the limits that hold before anything is understood."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from server.engine_interface import Engine
from server.errors import ApiError, not_ready, stopped
from server.services.context import ServerContext
from server.settings import Settings

T = TypeVar("T")


async def read_json(request: Request, settings: Settings) -> dict[str, Any]:
    """The body as a JSON object, read within its limits of size and time; raises ApiError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError("Send the body as content type application/json.", status=415)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("Compressed bodies are not accepted; send the body as it is.", status=415)
    try:
        async with asyncio.timeout(settings.body_seconds):
            raw = await _read(request, settings.max_body_bytes)
    except TimeoutError:
        raise ApiError(
            f"The body did not arrive within {settings.body_seconds:g} seconds.", status=408
        ) from None
    return _parse(raw)


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client goes away first (then raises ClientDisconnect).

    The request's body must have been read.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request, limit: int) -> bytes:
    too_large = ApiError(
        f"The body is larger than {limit} bytes. Send fewer or smaller images, or send them by URL.",
        status=413,
        code="request_too_large",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _parse(raw: bytes) -> dict[str, Any]:
    """Strict JSON: no NaN, no lone surrogates (text that can't be encoded again)."""
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        if rb"\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise ApiError("The body could not be parsed as JSON. Check that it is valid and UTF-8.") from None
    if not isinstance(body, dict):
        raise ApiError("The body must be a JSON object.")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def context_of(request: Request) -> ServerContext:
    state = request.app.state.internvl3
    assert isinstance(state, ServerContext)
    return state


def ready_engine(state: ServerContext) -> Engine:
    """The engine, if it can answer."""
    if state.engine is None:
        raise not_ready()
    if not state.engine.alive:
        raise stopped()
    return state.engine
