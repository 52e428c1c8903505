"""Replies of the critic's server that aren't scores: what they say, and whether asking again helps."""

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from ttscaling.remote.retries import is_busy

# Replies that say that no request gets a score: to none of them is a request sent again.
AWAY = ("engine_stopped", "model_loading", "server_shutting_down", "critic_unreachable", "no_critic")
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A reply of the server that isn't what was asked for."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    missing: tuple[str, ...] = ()  # ids of media that the server lacks

    @property
    def is_away(self) -> bool:
        """Whether no other request would get a score now, either."""
        return self.code in AWAY or self.status in REFUSED or 300 <= self.status < 400


def read_refusal(response: httpx.Response) -> Refusal:
    """Return what a reply of another status than 2xx says."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        error = response.json()["error"]
        return Refusal(
            status=response.status_code,
            message=str(error["message"]),
            param=error.get("param"),
            code=error.get("code"),
            missing=tuple(map(str, error.get("missing") or ())),
        )
    return Refusal(status=response.status_code, message=response.reason_phrase)


def may_succeed_later(response: httpx.Response) -> bool:
    """Return whether the same request may get another reply in a moment."""
    if not is_busy(response) or response.headers.get("x-should-retry") == "false":
        return False
    code = read_refusal(response).code
    return code not in AWAY and code != "critic_failed"
