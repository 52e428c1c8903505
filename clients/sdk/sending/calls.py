"""A request before it is sent, and whether it may be sent a second time."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from clients.sdk.errors import InvalidRequest

T = TypeVar("T")


class Repeat(Enum):
    """Whether a request may be sent again after a failure."""

    FREELY = "it changes nothing at the server"
    UNLESS_DONE = "only if the server surely didn't do what it asks for"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request of the API. `path` is relative to the server's root.

    `content` is a JSON body. `data` and `files` are the fields and files of a multipart form, as httpx takes
    them; the files are read again from their beginning each time the request is sent. With `keeps_open` the
    body of a successful reply is left to the reader. `afterwards` says how to find out whether a request was
    carried out.
    """

    method: str
    path: str
    content: bytes | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    params: Mapping[str, str | int] = field(default_factory=dict)
    repeat: Repeat = Repeat.FREELY
    keeps_open: bool = False
    afterwards: str = ""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of httpx's `build_request`."""
        request: dict[str, Any] = {"method": self.method, "url": self.path, "params": self.params}
        if self.content is not None:
            request |= {"content": self.content, "headers": {"Content-Type": "application/json"}}
        if self.files:
            request |= {"data": self.data, "files": self.files}
        return request


@dataclass(frozen=True)
class Send:
    """A step: send this request. It is answered by the reply, or by an exception of httpx's."""

    call: Call


@dataclass(frozen=True)
class Pause:
    """A step: wait for this many seconds."""

    seconds: float


# What a client does is written once, as a generator of steps. The blocking client and the one for asyncio
# carry the same steps out.
Steps = Generator[Send | Pause, Any, T]


def json_content(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON. Raises InvalidRequest for a value that JSON can't express, such as NaN."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request can't be written as JSON: {error}") from error
