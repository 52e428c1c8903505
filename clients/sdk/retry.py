"""Whether and when to send a refused request again. Pure: no clock, no sleeping, no chance of its own.

Follows OpenAI's Python client: 408, 409, 429 and 5xx are worth another try; Retry-After says when, else the
wait doubles from half a second, with jitter so that clients refused together don't return together.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 60.0  # seconds; a server that asks for more is better reported than waited for
LONGEST_BACKOFF = 8.0


def delay(
    status: int, headers: Mapping[str, str], *, attempt: int, max_retries: int, jitter: float, now: datetime
) -> float | None:
    """Seconds to wait before try number `attempt + 1` (the first is 0), or None to give up.

    `headers` has lower-case keys or ignores case; `jitter` is in [0, 1]; `now` has a time zone.
    """
    if attempt >= max_retries or not (status in (408, 409, 429) or status >= 500):
        return None
    asked = _retry_after(headers.get("retry-after"), now)
    if asked is None:
        return min(0.5 * 2**attempt, LONGEST_BACKOFF) * (1 - 0.25 * jitter)
    return asked if asked <= LONGEST_WAIT else None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from now (RFC 9110 section 10.2.3: seconds or a date); None if absent or unreadable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
