"""What can go wrong between a client and the server.

ClientError
  ServerUnreachable    nobody answers at the address
  ApiError             the server refused; carries OpenAI's error body
"""

import json
from typing import Any


class ClientError(Exception):
    """The message is one line for a person, and says what to do where that is known."""


class ServerUnreachable(ClientError):
    """No connection, or it broke off."""


class ApiError(ClientError):
    """A reply that is no success; `status` is 200 for an error that came inside a stream."""

    def __init__(
        self, status: int, *, message: str, type: str | None, param: str | None, code: str | None
    ) -> None:
        super().__init__(f"{message} (HTTP {status}{f', field {param}' if param else ''})")
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code


def api_error(status: int, body: bytes | str) -> ApiError:
    """From OpenAI's error body, and from anything else that a proxy may send instead."""
    try:
        error: Any = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        message = " ".join(text.split())[:200] or "the server sent an empty reply"
        return ApiError(status, message=message, type=None, param=None, code=None)
    return ApiError(
        status, message=message, type=error.get("type"), param=error.get("param"), code=error.get("code")
    )
