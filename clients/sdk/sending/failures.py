"""Turn failures of the network and of a reply's shape into the errors of this library."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from clients.sdk.errors import ClientError, InvalidRequest, ServerUnreachable, TimedOut

from .timeouts import Timeouts

EXAMPLE_URL = "http://127.0.0.1:8000"
MEANING = {
    "connect": "it took no connection",
    "write": "it took no more of the request",
    "first_byte": "it had not begun to reply",
    "between_bytes": "its reply stopped",
}


@contextmanager
def network_errors(url: str, timeouts: Timeouts, *, has_answered: bool, has_status: bool) -> Iterator[None]:
    """Raise failures of the network as InvalidRequest and ServerUnreachable.

    `has_answered` says that the server has answered a request before, so that it may come back.
    `has_status` says that the reply had begun.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise _timed_out("connect", url, timeouts, may_pass=has_answered) from error
    except httpx.WriteTimeout as error:
        raise _timed_out("write", url, timeouts) from error
    except httpx.TimeoutException as error:
        raise _timed_out("between_bytes" if has_status else "first_byte", url, timeouts) from error
    except httpx.ConnectError as error:
        raise ServerUnreachable(
            f"no server answers at {url}; start one with: internvl3 serve",
            was_sent=False,
            may_pass=has_answered,
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise not_an_address(url) from error
    except httpx.LocalProtocolError as error:
        raise InvalidRequest(f"the request is no valid HTTP ({error}); check the headers") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ServerUnreachable(
            f"the connection to {url} broke off ({reason}); send the request again", may_pass=True
        ) from error


@contextmanager
def shape_errors(url: str, expected: str) -> Iterator[None]:
    """Raise ClientError if a reply can't be read as what `expected` names.

    pydantic's and JSON's errors are ValueErrors; the others come from objects of another shape.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise ClientError(
            f"the reply of {url} is no {expected}; check that an internvl3 server runs there"
        ) from error


def without_password(url: str) -> str:
    """Return an address without the user and the password in it."""
    return re.sub(r"//[^/]*@", "//", url)


def not_an_address(url: str) -> InvalidRequest:
    """Return the error for text that is no server's address."""
    return InvalidRequest(
        f"{without_password(url)} is no address of a server; it must look like {EXAMPLE_URL}"
    )


def _timed_out(limit: str, url: str, timeouts: Timeouts, *, may_pass: bool = False) -> TimedOut:
    """Return the error for a time limit that was over. Only without a connection was nothing sent."""
    message = (
        f"the server at {url} was silent for too long: {MEANING[limit]} within "
        f"{getattr(timeouts, limit):g} s; check its log, or raise the client's time limit `{limit}`"
    )
    return TimedOut(message, limit=limit, was_sent=limit != "connect", may_pass=may_pass)
