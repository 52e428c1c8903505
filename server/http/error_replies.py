"""The replies to requests that fail: OpenAI's error body for every kind of exception."""

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from server.errors import ApiError, error_body, internal_error

from .access_log import CLIENT_CLOSED


async def api_error(request: Request, error: Exception) -> Response:
    """Return an ApiError's body; with status 503 the client is told to retry after 5 seconds."""
    assert isinstance(error, ApiError)
    headers = {"Retry-After": "5"} if error.status == 503 else None
    return JSONResponse(error.body, status_code=error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Return the error body for a request that routing refuses, with status 404 or 405."""
    assert isinstance(error, HTTPException)
    call = f"{request.method} {request.scope['path'][:100]}"
    message = {
        404: f"There is no {call}. See GET /v1/models and POST /v1/chat/completions.",
        405: f"{call}: this path takes another method; see the Allow header.",
    }.get(error.status_code, str(error.detail))
    return JSONResponse(
        error_body(message, status=error.status_code), status_code=error.status_code, headers=error.headers
    )


async def client_gone(request: Request, error: Exception) -> Response:
    """Return an empty reply that no client reads; the access log counts its status."""
    return Response(status_code=CLIENT_CLOSED)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """Return the error body for a bug of the server.

    The access log, which asks for this body, raises the exception again: its stack goes to the log alone.
    """
    failure = internal_error()
    return JSONResponse(failure.body, status_code=failure.status)
