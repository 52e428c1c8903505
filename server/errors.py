"""The errors that a client or an operator sees, and OpenAI's error body for them.

A message says what is wrong and what to change. It never holds the server's paths, addresses or stacks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

TYPE_NAMES = ("str", "int", "float", "bool", "list", "dict")
TOO_LONG = "context_length_exceeded"
TOO_MANY_STEPS = "too_many_steps"


class ApiError(Exception):
    """A request failed; the reply is OpenAI's error body with the HTTP status `status`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        can_retry: bool = True,
    ) -> None:
        """`can_retry` is false for a 503 that stays until somebody restarts the server."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.can_retry = can_retry

    @property
    def body(self) -> Mapping[str, Any]:
        """OpenAI's error body."""
        return error_body(self.message, status=self.status, param=self.param, code=self.code)


class StartupError(Exception):
    """The server can't start; its operator reads the message as one line."""


class EngineDied(StartupError):
    """An engine's process ended while it started.

    Only the engine's log says why. `without_reason` is what is known if the log has no error of the engine.
    """

    def __init__(self, message: str, *, without_reason: str) -> None:
        super().__init__(message)
        self.without_reason = without_reason


def error_body(
    message: str, *, status: int, param: str | None = None, code: str | None = None
) -> Mapping[str, Any]:
    """Return OpenAI's error body, whose `type` follows from the HTTP status."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def internal_error() -> ApiError:
    """Return the error for a bug of the server, which tells the client nothing about it."""
    return ApiError(
        "The server failed to process the request. Retry it; if it fails again, report it.", status=500
    )


def too_many_steps(count: int, most: int, param: str) -> ApiError:
    """Return the error for an answer with more steps than the critic scores."""
    return ApiError(
        f"{param} has {count} steps, and the critic scores {most} at most. Split it into fewer steps, which "
        "empty lines separate.",
        param=param,
        code=TOO_MANY_STEPS,
    )


def not_ready() -> ApiError:
    """Return the error for a request that comes before the models are loaded."""
    return ApiError("The model is still loading. Retry in a few seconds.", status=503, code="model_loading")


def shutting_down() -> ApiError:
    """Return the error for a request that still runs when a stopping server must end."""
    return ApiError(
        "The server is shutting down, and the request was not finished in time. Send it again when it has "
        "restarted, or to another server.",
        status=503,
        code="server_shutting_down",
    )


def stopped() -> ApiError:
    """Return the error for a request whose engine has died."""
    return ApiError(
        "The engine has stopped. Restart the server, or send the request to another one.",
        status=503,
        code="engine_stopped",
        can_retry=False,
    )


def model_not_found(name: str, served: tuple[str, ...]) -> ApiError:
    """Return the error for a model name that this server doesn't have."""
    return ApiError(
        f"The model `{name[:100]}` does not exist. Use one of these: {', '.join(served)}.",
        status=404,
        param="model",
        code="model_not_found",
    )


def field_path(location: Sequence[int | str]) -> str:
    """Return a field's path, such as `messages[0].content`, for the location in an error of pydantic's.

    A location also names the types that pydantic tried; the path leaves them out.
    """
    path = ""
    for key in location:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key.isidentifier() and key.islower() and key not in TYPE_NAMES:
            path += f".{key}" if path else key
    return path


def field_error(error: ValidationError) -> ApiError:
    """Return the error for a body that pydantic refused; it names the first field that is wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = field_path(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if path and not message.startswith(path):
        message = f"{path}: {message}"
    return ApiError(message if message.endswith((".", ")")) else f"{message}.", param=path or None)
