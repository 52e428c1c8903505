"""The replies to requests that fail: for every exception the error body of the API that was asked."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from server.errors import ApiError, internal_error
from server.protocol.error_forms import error_content
from server.telemetry.request_record import current_record

CLIENT_CLOSED = 499  # the client has left; the status is for the log and the metrics


async def api_error(request: Request, error: Exception) -> Response:
    """Return the reply to a request that ended with an ApiError."""
    assert isinstance(error, ApiError)
    return error_reply(error, request.scope)


def error_reply(error: ApiError, scope: Scope, **extra: Any) -> JSONResponse:
    """Return an error's body, which the request's line in the log names, too.

    With status 429 or 503 the headers say whether and when to retry. `extra` are further fields of the body.

    OpenAI's and Anthropic's clients retry both unless x-should-retry is false.
    """
    current_record().note_error(error.code, error.param)
    headers = {}
    if error.status in (429, 503):
        retry = {"Retry-After": str(error.retry_after)}
        headers = retry if error.can_retry else {"x-should-retry": "false"}
    if error.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    content = error_content(error, scope["path"], scope.get("state", {}).get("request_id"))
    return JSONResponse({**content, **extra}, status_code=error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Return the error body for a request that routing refuses, with status 404 or 405."""
    assert isinstance(error, HTTPException)
    call = f"{request.method} {request.scope['path'][:100]}"
    if error.status_code == 405:
        failure = ApiError(
            f"{call}: this path takes another method; see the Allow header.",
            status=405,
            code="method_not_allowed",
        )
    else:
        failure = ApiError(
            f"There is no {call}. GET /openapi.json lists all paths, such as POST /v1/chat/completions.",
            status=error.status_code,
            code="unknown_url",
        )
    reply = error_reply(failure, request.scope)
    reply.headers.update(error.headers or {})
    return reply


async def client_gone(request: Request, error: Exception) -> Response:
    """Return an empty reply that no client reads; the access log counts its status."""
    return Response(status_code=CLIENT_CLOSED)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """Return the error body for a bug of the server.

    The access log, which asks for this body, raises the exception again: its stack goes to the log alone.
    """
    return error_reply(internal_error(), request.scope)
