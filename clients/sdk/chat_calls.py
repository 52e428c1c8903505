"""The calls of the chat endpoint."""

from collections.abc import Mapping
from typing import Any

from .answers import Answer, answer_of
from .completions import Completion
from .sending.attempts import object_of
from .sending.calls import Call, Steps, json_content
from .sending.connection import Connection
from .sending.failures import shape_errors

PATH = "v1/chat/completions"


def stream_call(body: Mapping[str, Any]) -> Call:
    """Return the call for a streamed completion. Raises InvalidRequest if the body is no JSON."""
    return Call(method="POST", path=PATH, content=json_content({**body, "stream": True}), keeps_open=True)


def completion_steps(connection: Connection, body: Mapping[str, Any]) -> Steps[Completion]:
    """Return the completion of a chat request. Raises ClientError."""
    call = Call(method="POST", path=PATH, content=json_content(body))
    return (yield from object_of(connection, call, Completion, "chat completion"))


def answer_steps(connection: Connection, body: Mapping[str, Any]) -> Steps[Answer]:
    """Return the answer to a chat request. Raises ClientError."""
    completion = yield from completion_steps(connection, body)
    with shape_errors(connection.shown_url, "chat completion"):
        return answer_of(completion)
