"""Build the requests of both clients and read the replies. Nothing here sends or waits."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import ValidationError

from .completions import Completion
from .errors import ClientError, ServerUnreachable, api_error
from .retry import delay

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_RETRIES = 2
PATH = "v1/chat/completions"


def server_root(base_url: str) -> str:
    """Return the server's address without /v1 at its end."""
    return base_url.rstrip("/").removesuffix("/v1")


def chat_request(messages: Sequence[dict[str, Any]], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat request as the arguments of httpx's `build_request`.

    Raises ClientError for a value that JSON can't express, such as NaN.
    """
    try:
        content = json.dumps({"messages": messages, **fields}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ClientError(f"the request can't be written as JSON: {error}") from error
    return {
        "method": "POST",
        "url": PATH,
        "content": content,
        "headers": {"Content-Type": "application/json"},
    }


def seconds_to_retry(response: httpx.Response, attempt: int) -> float:
    """Return the seconds to wait before a refused request is sent again.

    `response` has been read, and `attempt` counts from 0. Raises ApiError if another try is not worth it.
    """
    seconds = delay(
        response.status_code,
        response.headers,
        attempt=attempt,
        max_retries=MAX_RETRIES,
        jitter=random.random(),
        now=datetime.now(UTC),
    )
    if seconds is None:
        raise api_error(response.status_code, response.content)
    return seconds


def read_completion(content: bytes) -> Completion:
    """Return the completion of a successful reply; raises pydantic's ValidationError."""
    return Completion.model_validate_json(content)


@contextmanager
def client_errors(url: str) -> Iterator[None]:
    """Turn failures of the network and of the reply's shape into ClientError."""
    try:
        yield
    except httpx.ConnectError as error:
        raise ServerUnreachable(f"no server answers at {url}; start one with: internvl3 serve") from error
    except httpx.TimeoutException as error:
        raise ServerUnreachable(
            f"the server at {url} was silent for too long; check its log, or raise the client's timeout"
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ClientError(f"{url} is no address of a server; it must look like {DEFAULT_URL}") from error
    except httpx.HTTPError as error:
        raise ServerUnreachable(
            f"the connection to {url} broke off ({error}); send the request again"
        ) from error
    except (ValidationError, json.JSONDecodeError) as error:
        raise ClientError(
            f"the reply of {url} is no chat completion; check that an internvl3 server runs there"
        ) from error
