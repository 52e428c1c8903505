"""Every refusal, as OpenAI's API words it: `{"error": {"message", "type", "param", "code"}}`.

A message says what to change. Nothing of the server's inside (paths, addresses, stacks) reaches a client.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

TYPE_NAMES = ("str", "int", "float", "bool", "list", "dict")


TOO_LONG = "context_length_exceeded"


class ApiError(Exception):
    """A request that ends with an error body; `status` is its HTTP status."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    @property
    def body(self) -> Mapping[str, Any]:
        return error_body(self.message, status=self.status, param=self.param, code=self.code)


class StartupError(Exception):
    """The server can't start; the message is the one line its operator reads."""


class EngineDied(StartupError):
    """An engine's process ended while it started; why is in its log only."""


def error_body(
    message: str, *, status: int, param: str | None = None, code: str | None = None
) -> Mapping[str, Any]:
    """OpenAI's error object. Its clients retry on the HTTP status and show `message`."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def internal_error() -> ApiError:
    return ApiError(
        "The server failed to process the request. Retry it; if it fails again, report it.", status=500
    )


def not_ready() -> ApiError:
    return ApiError("The model is still loading. Retry in a few seconds.", status=503, code="model_loading")


def stopped() -> ApiError:
    return ApiError(
        "The engine has stopped; only a restart of the server brings it back. Ask another one.",
        status=503,
        code="engine_stopped",
    )


def model_not_found(name: str, served: tuple[str, ...]) -> ApiError:
    return ApiError(
        f"The model `{name[:100]}` does not exist. This server has: {', '.join(served)}.",
        status=404,
        param="model",
        code="model_not_found",
    )


def field_path(location: Sequence[int | str]) -> str:
    """messages[0].content out of pydantic's path, which also names the types it tried."""
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part.isidentifier() and part.islower() and part not in TYPE_NAMES:
            place += f".{part}" if place else part
    return place


def field_error(error: ValidationError) -> ApiError:
    """The first complaint of pydantic's, worded for a client."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = field_path(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if where and not message.startswith(where):
        message = f"{where}: {message}"
    return ApiError(message if message.endswith((".", ")")) else f"{message}.", param=where or None)
