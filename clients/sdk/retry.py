"""Decide whether and when a refused request is sent again.

The rules are those of OpenAI's Python client. 408, 409, 429 and 5xx are worth another try, unless the header
x-should-retry decides otherwise. Retry-After says when. Without it, the wait begins with half a second and
doubles each time. It is shortened by a random fraction (jitter), so that clients that were refused together
don't come back together.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 60.0  # seconds; if the server asks for more, the refusal is reported at once
LONGEST_BACKOFF = 8.0  # seconds


def delay(
    status: int, headers: Mapping[str, str], *, attempt: int, max_retries: int, jitter: float, now: datetime
) -> float | None:
    """Return the seconds to wait before the next try, or None if there is none.

    `attempt` is the number of the try that was refused, from 0. `headers` has lower-case keys or ignores
    case. `jitter` is a random number in [0, 1]. `now` has a time zone.
    """
    is_retryable = status in (408, 409, 429) or status >= 500
    is_retryable = {"true": True, "false": False}.get(headers.get("x-should-retry", ""), is_retryable)
    if attempt >= max_retries or not is_retryable:
        return None
    seconds = _retry_after(headers.get("retry-after"), now)
    if seconds is None:
        return min(0.5 * 2**attempt, LONGEST_BACKOFF) * (1 - 0.25 * jitter)
    return seconds if seconds <= LONGEST_WAIT else None


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
