"""The steps of one request: it is sent, and sent again after a failure that may pass."""

import random
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

import httpx

from clients.sdk.completions import Wire
from clients.sdk.errors import InvalidRequest, OutcomeUnknown, ServerUnreachable, api_error

from .calls import Call, Pause, Repeat, Send, Steps
from .connection import Connection
from .failures import shape_errors
from .retry import backoff, delay

Reply = TypeVar("Reply", bound=Wire)


def object_of(connection: Connection, call: Call, kind: type[Reply], expected: str) -> Steps[Reply]:
    """Return the JSON object in a successful reply; `expected` names it. Raises ClientError."""
    reply = yield from reply_to(connection, call)
    with shape_errors(connection.shown_url, expected):
        return kind.model_validate_json(reply.content)


def reply_to(connection: Connection, call: Call) -> Steps[httpx.Response]:
    """Return the successful reply.

    Raises ApiError for a refusal, ServerUnreachable without a reply, and OutcomeUnknown if the server may
    nevertheless have done what was asked.
    """
    for attempt in count():
        try:
            response: httpx.Response = yield Send(call)
        except ServerUnreachable as error:
            if error.was_sent and call.repeat is Repeat.UNLESS_DONE:
                raise _outcome_unknown(call, error) from error
            if attempt >= connection.max_retries or not error.may_pass:
                raise
            yield Pause(backoff(attempt, random.random()))
            continue
        if response.is_success:
            break
        if response.has_redirect_location:
            raise _moved(connection, response)
        yield Pause(_seconds_to_retry(call, response, attempt, connection.max_retries))
    return response


def _moved(connection: Connection, response: httpx.Response) -> InvalidRequest:
    """Return the error for a redirection. It isn't followed, because the key would go to another address."""
    return InvalidRequest(
        f"{connection.shown_url} sends to another address, {response.headers['location']}; "
        "give the address of the server itself"
    )


def _outcome_unknown(call: Call, error: ServerUnreachable) -> OutcomeUnknown:
    reason, _, _ = str(error).partition(";")
    return OutcomeUnknown(
        f"{reason}; the server may have done what {call.method} {call.path} asks for, so {call.afterwards} "
        "before you send it again"
    )


def _seconds_to_retry(call: Call, response: httpx.Response, attempt: int, max_retries: int) -> float:
    """Return the seconds to wait before a refused request is sent again.

    `response` has been read. Raises ApiError if another try is not worth it.
    """
    seconds = delay(
        response.status_code,
        response.headers,
        attempt=attempt,
        max_retries=max_retries,
        jitter=random.random(),
        now=datetime.now(UTC),
        repeat=call.repeat,
    )
    if seconds is None:
        raise api_error(response.status_code, response.content, response.headers.get("x-request-id"))
    return seconds
