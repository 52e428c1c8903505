"""The errors that a client or an operator sees, and OpenAI's error body for them.

A message says what is wrong and what to change. It never holds the server's paths, addresses or stacks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

TYPE_NAMES = ("str", "int", "float", "bool", "list", "dict")
INVALID = "invalid_value"  # the code if no other one fits: a field has a value that is not allowed
TOO_LONG = "context_length_exceeded"
TOO_MANY_STEPS = "too_many_steps"
TOO_COMPLEX = "grammar_too_complex"
MISSING_FIELD = "missing_required_parameter"  # OpenAI's code, as the next one is
UNKNOWN_FIELD = "unknown_parameter"


class ApiError(Exception):
    """A request failed; the reply is OpenAI's error body with the HTTP status `status`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str = INVALID,
        can_retry: bool = True,
        retry_after: int = 5,
        kind: str | None = None,
    ) -> None:
        """Keep what the reply needs.

        Args:
            message: what is wrong and what to change.
            status: the HTTP status.
            param: the field of the request to change.
            code: the name of this kind of error, one of those in docs/errors.md.
            can_retry: false for a 503 that stays until somebody restarts the server.
            retry_after: the seconds after which a 429 or 503 may be over.
            kind: the `type` in the body; by default it follows from the status.
        """
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.can_retry = can_retry
        self.retry_after = retry_after
        self.kind = kind

    @property
    def body(self) -> Mapping[str, Any]:
        """OpenAI's error body."""
        return error_body(self.message, status=self.status, param=self.param, code=self.code, kind=self.kind)


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
    message: str, *, status: int, code: str, param: str | None = None, kind: str | None = None
) -> Mapping[str, Any]:
    """Return OpenAI's error body. Its `type` is `kind`, or else follows from the HTTP status."""
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def internal_error() -> ApiError:
    """Return the error for a bug of the server, which tells the client nothing about it."""
    return ApiError(
        "The server failed to process the request. Retry it; if it fails again, report it.",
        status=500,
        code="internal_error",
    )


def too_many_steps(count: int, most: int, param: str) -> ApiError:
    """Return the error for an answer with more steps than the critic scores."""
    return ApiError(
        f"{param} has {count} steps, and the critic scores {most} at most. Split it into fewer steps, which "
        "empty lines separate.",
        param=param,
        code=TOO_MANY_STEPS,
    )


def not_ready(progress: Mapping[str, str] | None = None) -> ApiError:
    """Return the error for a request that comes before the models are loaded.

    `progress` holds the phase of each engine's start by its title; without it the message names none.
    """
    phases = ", ".join(f"{title}: {phase}" for title, phase in (progress or {}).items())
    message = f"The model is still loading{f' ({phases})' if phases else ''}. Retry in a few seconds."
    return ApiError(message, status=503, code="model_loading")


def no_files(param: str | None = None) -> ApiError:
    """Return the error for a request about files or batches to a server that keeps none.

    `param` is the field that names a file in a request about something else, whose status is then 400.
    """
    return ApiError(
        "This server keeps no files and runs no batches. Its operator can start it with --files FOLDER.",
        status=404 if param is None else 400,
        param=param,
        code="no_files",
    )


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


def no_policy() -> ApiError:
    """Return the error for a request that needs a policy, to a server that runs a critic alone."""
    return ApiError(
        "This server runs a critic alone. Send answers to score to POST /v1/critic/score, and conversations "
        "to a server with a policy.",
        status=404,
        code="no_policy",
    )


def stalled(seconds: float) -> ApiError:
    """Return the error for a request whose engine hangs. `seconds` is the time since its last step."""
    return ApiError(
        f"The engine has made no step for {seconds:.0f} seconds although requests wait. Restart the server, "
        "or send the request to another one.",
        status=503,
        code="engine_stalled",
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


def adapter_not_found(message: str, *, param: str) -> ApiError:
    """Return the error for a LoRA adapter that isn't loaded, or isn't where it is said to be."""
    return ApiError(message, status=404, param=param, code="adapter_not_found")


def field_path(location: Sequence[int | str]) -> str:
    """Return a field's path, such as `messages[0].content`, for the location in an error of pydantic's.

    A location also names the types that pydantic tried; the path leaves them out.
    """
    path = ""
    for key in location:
        if isinstance(key, int):
            path += f"[{key}]"
        elif not _is_type(key):
            path += f".{key}" if path else key
    return path


def field_error(error: ValidationError) -> ApiError:
    """Return the error for a body that pydantic refused; it names the first field that is wrong."""
    first = _telling(error.errors(include_url=False, include_context=False, include_input=False))
    path = field_path(first["loc"])
    if path.startswith("["):  # vLLM checks the calls of an assistant's message by themselves
        path = f"tool_calls{path}"
    message = first["msg"].removeprefix("Value error, ")
    if path and not message.startswith(path):
        message = f"{path}: {message}"
    message = message if message.endswith((".", ")")) else f"{message}."
    if first["type"] == "extra_forbidden":
        return ApiError(message, param=path, code=UNKNOWN_FIELD)
    return ApiError(
        message, param=path or None, code=MISSING_FIELD if first["type"] == "missing" else INVALID
    )


def _telling(errors: Sequence[Any]) -> Any:
    """Return the error that says most about the first wrong field.

    A value that may have several types has the errors of each of them, behind the type's name. The best type
    is one whose own fields are there with the right literals, such as `role`. Among such types it is one of
    the right kind, such as a list, and among these the one with the fewest errors.
    """
    by_type: dict[tuple[int | str, ...], list[Any]] = {}
    for error in errors:
        location = error["loc"]
        if location[:1] == errors[0]["loc"][:1]:
            end = next((index + 1 for index, key in enumerate(location) if _is_type(key)), len(location))
            by_type.setdefault(location[:end], []).append(error)

    def misfit(of_type: tuple[int | str, ...]) -> tuple[int, bool, int]:
        found = by_type[of_type]
        names = [error for error in found if len(error["loc"]) == len(of_type) + 1]
        others = sum(error["type"] in ("literal_error", "missing") for error in names)
        whole = any(error["loc"] == of_type and error["type"].endswith("_type") for error in found)
        return others, whole, len(found)

    return by_type[min(by_type, key=misfit)][0]


def _is_type(key: int | str) -> bool:
    return isinstance(key, str) and (not key.isidentifier() or not key.islower() or key in TYPE_NAMES)
