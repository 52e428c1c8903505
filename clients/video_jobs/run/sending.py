"""Send one paid request until it is answered, however often the servers are busy or away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clients.sdk.errors import ApiError
from clients.video_jobs.questions import PaidRequest

from .failures import Failure, RequestFailed, WrongServer
from .servers import Server, Servers
from .verdicts import Verdict, seconds_to_wait, verdict

MOST_TRIES = 3  # of a request that the server fails on, or that it answers with nothing
MOST_BREAKS = 5  # connections that break off under one request, before it is taken for the reason
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Reply:
    """The reply's JSON, the id of the request in the server's log, and the server's address."""

    body: Mapping[str, Any]
    request_id: str | None
    server: str


@dataclass
class _Tries:
    """How often a request has failed by now, by kind, and how long it has waited for a busy server."""

    refusals: int = 0
    faults: int = 0
    breaks: int = 0
    busy_seconds: float = 0.0


Post = Callable[[Server], Awaitable[httpx.Response]]


async def send(
    request: PaidRequest, video: str, servers: Servers, post: Post, *, patience: float
) -> httpx.Response:
    """Return the server's reply with status 2xx; `post` sends the request once to a server.

    While servers are away or busy the request waits, and this counts against nobody. Raises RequestFailed if
    the request itself fails, also if a server that is ready was busy for `patience` seconds, and RunEnds.
    """
    tries = _Tries()
    while True:
        server = await servers.wait_for(video)
        try:
            response = await post(server)
        except NOT_SENT:
            servers.note_away(server)
            continue
        except httpx.HTTPError as error:
            servers.note_away(server)
            tries.breaks += 1
            if tries.breaks >= MOST_BREAKS:
                raise RequestFailed(_broken(request, server, error)) from error
            await asyncio.sleep(seconds_to_wait(503, {}, tries.breaks - 1))
            continue
        except ValueError as error:
            message = f"the request can't be written as JSON: {error}"
            raise RequestFailed(Failure(stage_of(request), "refused", message)) from error
        if response.is_success:
            return response
        refusal = verdict(response.status_code, response.headers, response.content, attempt=tries.refusals)
        tries.refusals += 1
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            servers.note_away(server)  # it may be loading or stopping; its /readyz tells
        await _wait(request, response, refusal, tries, patience)


async def _wait(
    request: PaidRequest, response: httpx.Response, refusal: Verdict, tries: _Tries, patience: float
) -> None:
    """Wait as long as a refusal asks for. Raises RequestFailed or RunEnds if waiting doesn't help."""
    request_id = response.headers.get("x-request-id")
    if refusal.kind == "no access":
        raise WrongServer(f"{refusal.error}: set the key with --api-key or INTERNVL3_API_KEY")
    if refusal.kind == "refused":
        raise RequestFailed(refused(request, refusal.error, "refused", request_id))
    if refusal.kind == "failing":
        tries.faults += 1
        if tries.faults >= MOST_TRIES:
            raise RequestFailed(refused(request, refusal.error, "server_error", request_id, retryable=True))
    else:
        tries.busy_seconds += refusal.seconds
        if tries.busy_seconds > patience:
            raise RequestFailed(refused(request, refusal.error, "busy", request_id, retryable=True))
    await asyncio.sleep(refusal.seconds)


def stage_of(request: PaidRequest) -> str:
    """Return the stage of a purpose: "segment" of "segment 3"."""
    return request.purpose.partition(" ")[0]


def refused(
    request: PaidRequest, error: ApiError, kind: str, request_id: str | None, *, retryable: bool = False
) -> Failure:
    """Return the failure of a request that the server refused."""
    return Failure(stage_of(request), kind, str(error), error.status, request_id, retryable)


def _broken(request: PaidRequest, server: Server, error: httpx.HTTPError) -> Failure:
    if isinstance(error, httpx.TimeoutException):
        message = f"the server at {server.url} was silent for too long, {MOST_BREAKS} times"
        return Failure(stage_of(request), "timeout", message, retryable=True)
    message = (
        f"the connection to {server.url} broke off {MOST_BREAKS} times under this request "
        f"({type(error).__name__}); the server's log says whether the request ends it"
    )
    return Failure(stage_of(request), "connection_lost", message, retryable=True)
