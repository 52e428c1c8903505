"""TODO: what this file is about."""

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from server.errors import ApiError, error_body, internal_error

from .access_log import CLIENT_CLOSED


async def api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {"Retry-After": "5"} if error.status == 503 else None
    return JSONResponse(error.body, status_code=error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """What routing refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.scope['path'][:100]}"
    message = {
        404: f"There is no {asked}. See GET /v1/models and POST /v1/chat/completions.",
        405: f"{asked}: this path takes another method.",
    }.get(error.status_code, str(error.detail))
    return JSONResponse(
        error_body(message, status=error.status_code), status_code=error.status_code, headers=error.headers
    )


async def client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """A bug. The stack goes to the log (by Starlette, which raises it again), never to the client."""
    failure = internal_error()
    return JSONResponse(failure.body, status_code=failure.status)
