"""The replies to requests that fail: OpenAI's error body for every kind of exception."""

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from server.errors import ApiError, error_body, internal_error

from .access_log import CLIENT_CLOSED


async def api_error(request: Request, error: Exception) -> Response:
    """Return the reply to a request that ended with an ApiError."""
    assert isinstance(error, ApiError)
    return error_reply(error)


def error_reply(error: ApiError) -> JSONResponse:
    """Return an error's body; with status 429 or 503 the headers say whether and when to retry.

    OpenAI's clients retry both unless x-should-retry is false.
    """
    headers = {}
    if error.status in (429, 503):
        retry = {"Retry-After": str(error.retry_after)}
        headers = retry if error.can_retry else {"x-should-retry": "false"}
    if error.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return JSONResponse(error.body, status_code=error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Return the error body for a request that routing refuses, with status 404 or 405."""
    assert isinstance(error, HTTPException)
    call = f"{request.method} {request.scope['path'][:100]}"
    asks_otherwise = request.scope["path"].endswith(("/responses", "/completions"))
    advice = "Set your client to chat completions:" if asks_otherwise else "See GET /v1/models and"
    if error.status_code == 405:
        message = f"{call}: this path takes another method; see the Allow header."
        body = error_body(message, status=405, code="method_not_allowed")
    else:
        message = f"There is no {call}. {advice} POST /v1/chat/completions."
        body = error_body(message, status=error.status_code, code="unknown_url")
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def client_gone(request: Request, error: Exception) -> Response:
    """Return an empty reply that no client reads; the access log counts its status."""
    return Response(status_code=CLIENT_CLOSED)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """Return the error body for a bug of the server.

    The access log, which asks for this body, raises the exception again: its stack goes to the log alone.
    """
    failure = internal_error()
    return JSONResponse(failure.body, status_code=failure.status)
