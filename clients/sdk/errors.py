"""The errors that the clients raise.

ClientError
  InvalidRequest       the request can't be sent as it is: a field, a header, the address, or a file
  ServerUnreachable    no server answers at the address, or the connection broke off
    TimedOut           a time limit was over; `limit` names it
    OutcomeUnknown     the connection broke off, and the server may have done what was asked
  UploadInterrupted    an upload in parts failed; `partial` goes on with it
  ApiError             the server refused the request; it holds OpenAI's error body
"""

import json
from typing import Any

from .partial_upload import PartialUpload


class ClientError(Exception):
    """A request failed. The message says what to do if that is known; it may quote the server."""


class InvalidRequest(ClientError):
    """The request was not sent, because it can't be sent as it is."""


class ServerUnreachable(ClientError):
    """There is no connection to the server, or it broke off.

    `was_sent` says that the request may have reached the server, and `may_pass` that the same request is
    worth another try.
    """

    def __init__(self, message: str, *, was_sent: bool = True, may_pass: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.may_pass = may_pass


class TimedOut(ServerUnreachable):
    """A time limit was over. `limit` is the name of a field of `Timeouts`."""

    def __init__(self, message: str, *, limit: str, was_sent: bool = True, may_pass: bool = False) -> None:
        super().__init__(message, was_sent=was_sent, may_pass=may_pass)
        self.limit = limit


class OutcomeUnknown(ServerUnreachable):
    """The connection broke off when the server may already have done what was asked."""


class UploadInterrupted(ClientError):
    """An upload in parts failed. `partial` goes on with it, and `__cause__` says what happened."""

    def __init__(self, message: str, *, partial: PartialUpload) -> None:
        super().__init__(message)
        self.partial = partial


class ApiError(ClientError):
    """The server refused the request. `status` is 200 for an error that came inside a stream."""

    def __init__(
        self,
        status: int,
        *,
        message: str,
        type: str | None,
        param: str | None,
        code: str | None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{message} (HTTP {status}{f', field {param}' if param else ''})")
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id


def api_error(status: int, body: bytes | str, request_id: str | None = None) -> ApiError:
    """Return the error for a reply: OpenAI's error body, or other text, as a proxy may send it."""
    try:
        error: Any = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        message = " ".join(text.split())[:200] or "the server sent an empty reply"
        return ApiError(status, message=message, type=None, param=None, code=None, request_id=request_id)
    return ApiError(
        status,
        message=message,
        type=error.get("type"),
        param=error.get("param"),
        code=error.get("code"),
        request_id=request_id,
    )
