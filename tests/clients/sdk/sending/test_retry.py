"""Refused requests are sent again when that is worth it, and after the right time."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from clients.sdk.sending.retry import LONGEST_BACKOFF, delay

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def seconds_to_wait(
    status: int, retry_after: str | None = None, *, attempt: int = 0, jitter: float = 0.0
) -> float | None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return delay(status, headers, attempt=attempt, max_retries=2, jitter=jitter, now=NOW)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_refusal_that_may_pass_is_tried_again(status: int) -> None:
    assert seconds_to_wait(status) == 0.5
    assert seconds_to_wait(status, attempt=1) == 1.0
    assert seconds_to_wait(status, attempt=2) is None


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_a_refusal_that_stays_is_not_tried_again(status: int) -> None:
    assert seconds_to_wait(status, "0") is None


def test_retry_after_is_obeyed() -> None:
    assert seconds_to_wait(429, "7") == 7
    assert seconds_to_wait(429, "0", attempt=1) == 0
    assert seconds_to_wait(503, format_datetime(NOW + timedelta(seconds=9), usegmt=True)) == 9
    assert seconds_to_wait(503, format_datetime(NOW - timedelta(seconds=9), usegmt=True)) == 0


def test_the_server_may_decide_whether_to_retry() -> None:
    for status, decision, seconds in ((503, "false", None), (400, "true", 0.5), (503, "maybe", 0.5)):
        headers = {"x-should-retry": decision}
        assert delay(status, headers, attempt=0, max_retries=2, jitter=0.0, now=NOW) == seconds


def test_too_long_a_retry_after_ends_the_tries() -> None:
    assert seconds_to_wait(429, "3600") is None


@pytest.mark.parametrize("unreadable", ["soon", "", "-1", "1e3"])
def test_an_unreadable_retry_after_is_ignored(unreadable: str) -> None:
    assert seconds_to_wait(429, unreadable) == 0.5


@pytest.mark.parametrize("jitter", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("attempt", [0, 3, 4, 5, 50])
def test_the_wait_is_bounded(attempt: int, jitter: float) -> None:
    seconds = delay(500, {}, attempt=attempt, max_retries=51, jitter=jitter, now=NOW)
    assert seconds is not None
    assert 0.375 <= seconds <= LONGEST_BACKOFF
