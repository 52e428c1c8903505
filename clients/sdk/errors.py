"""The errors that the clients raise.

ClientError
  ServerUnreachable    no server answers at the address, or the connection broke off
  ApiError             the server refused the request; it holds OpenAI's error body
"""

import json
from typing import Any


class ClientError(Exception):
    """A request failed. The message is one line, and says what to do if that is known."""


class ServerUnreachable(ClientError):
    """There is no connection to the server, or it broke off."""


class ApiError(ClientError):
    """The server refused the request. `status` is 200 for an error that came inside a stream."""

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
    """Return the error for a reply: OpenAI's error body, or other text, as a proxy may send it."""
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
