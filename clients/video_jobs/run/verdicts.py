"""Decide what a server's refusal means for a request, an item and the run.

busy      408, 429, 502, 503, 504   the request waits, for as long as the server says, and is sent again
failing   500 and other 5xx, or a 503 that only a restart ends   it is sent again a few times
no access 401, 403, or a used-up quota   the run ends, since every request would be refused
refused   all other statuses   the item fails
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from clients.sdk.errors import ApiError, api_error
from clients.sdk.sending.retry import delay

BUSY = (408, 429, 502, 503, 504)
NO_ACCESS = (401, 403)
QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached")
LONGEST_WAIT = 60.0  # seconds; a server that asks for more is asked again after this time


@dataclass(frozen=True)
class Verdict:
    """What a refusal means, the error, and the seconds to wait before the request is sent again."""

    kind: Literal["busy", "failing", "no access", "refused"]
    error: ApiError
    seconds: float = 0.0


def verdict(status: int, headers: Mapping[str, str], body: bytes, *, attempt: int) -> Verdict:
    """Return what a refusal means. `attempt` is the number of the try that was refused, from 0."""
    error = api_error(status, body)
    if status in NO_ACCESS or error.code in QUOTA_CODES:
        return Verdict("no access", error)
    if status not in BUSY and status < 500:
        return Verdict("refused", error)
    only_a_restart_helps = headers.get("x-should-retry") == "false"
    kind: Literal["busy", "failing"] = "busy" if status in BUSY and not only_a_restart_helps else "failing"
    return Verdict(kind, error, seconds_to_wait(status, headers, attempt))


def seconds_to_wait(status: int, headers: Mapping[str, str], attempt: int) -> float:
    """Return the seconds that the server asks to wait, or else twice as many as after the last try."""
    kept = {name: headers[name] for name in ("retry-after", "retry-after-ms") if name in headers}
    seconds = delay(
        status if status in BUSY else 500,
        kept,
        attempt=attempt,
        max_retries=attempt + 1,
        jitter=random.random(),
        now=datetime.now(UTC),
    )
    return LONGEST_WAIT if seconds is None else seconds
