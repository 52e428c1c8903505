"""Decide whether and when a refused request is sent again.

The rules are those of OpenAI's Python client. 408, 409, 429 and 5xx are worth another try, unless the header
x-should-retry decides otherwise. retry-after-ms and Retry-After say when. Without them, the wait begins with
half a second and doubles each time. It is shortened by a random fraction (jitter), so that clients that were
refused together don't come back together.

A request that changes something at the server, such as an upload, is sent again only if the reply says that
nothing was done: 408, 429, and 503 with one of these headers. A proxy's 502 or 504 doesn't say so.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .calls import Repeat

LONGEST_WAIT = 60.0  # seconds; if the server asks for more, the refusal is reported at once
LONGEST_BACKOFF = 8.0  # seconds


def delay(
    status: int,
    headers: Mapping[str, str],
    *,
    attempt: int,
    max_retries: int,
    jitter: float,
    now: datetime,
    repeat: Repeat = Repeat.FREELY,
) -> float | None:
    """Return the seconds to wait before the next try, or None if there is none.

    `attempt` is the number of the try that was refused, from 0. `headers` has lower-case keys or ignores
    case. `jitter` is a random number in [0, 1]. `now` has a time zone.
    """
    seconds = _milliseconds(headers.get("retry-after-ms"))
    if seconds is None:
        seconds = _retry_after(headers.get("retry-after"), now)
    if repeat is Repeat.FREELY:
        is_retryable = status in (408, 409, 429) or status >= 500
    else:
        is_retryable = status in (408, 429) or (status == 503 and seconds is not None)
    is_retryable = {"true": True, "false": False}.get(headers.get("x-should-retry", ""), is_retryable)
    if attempt >= max_retries or not is_retryable:
        return None
    if seconds is None:
        return backoff(attempt, jitter)
    return seconds if seconds <= LONGEST_WAIT else None


def backoff(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after try number `attempt`, from 0, if the server named no time."""
    return min(0.5 * 2 ** min(attempt, 10), LONGEST_BACKOFF) * (1 - 0.25 * jitter)


def _milliseconds(value: str | None) -> float | None:
    """Return a retry-after-ms header in seconds, or None if it is absent or can't be read."""
    if value is None or not value.strip().isdecimal():
        return None
    return float(value) / 1000


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Return a Retry-After header in seconds from now, or None if it is absent or can't be read.

    The header holds seconds or a date (RFC 9110, section 10.2.3).
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
