"""The limits of one key, with a clock that the test moves."""

import pytest

from server.access.rate_limits import RATE_HEADERS, Account, Rates
from server.errors import ApiError
from ttscaling.types import TokenUsage


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def account(**rates: int) -> tuple[Account, Clock]:
    clock = Clock()
    return Account(Rates(**rates), clock), clock


def refusal(limited: Account) -> ApiError:
    with pytest.raises(ApiError) as error:
        limited.begin()
    assert (error.value.status, error.value.code) == (429, "rate_limit_exceeded")
    return error.value


def test_without_limits_everything_is_allowed():
    limited, _ = account()
    for _ in range(10_000):
        limited.begin()
    assert limited.headers() == {}


def test_requests_fill_up_steadily():
    limited, clock = account(requests_per_minute=6)
    for _ in range(6):
        limited.begin()
    error = refusal(limited)
    assert error.retry_after == 10 and error.kind == "requests" and "6 requests a minute" in error.message
    clock.now += 10
    limited.begin()
    refusal(limited)
    clock.now += 3600
    for _ in range(6):
        limited.begin()
    refusal(limited)


def test_a_refused_request_uses_nothing():
    limited, clock = account(requests_per_minute=1)
    limited.begin()
    for _ in range(100):
        refusal(limited)
    clock.now += 60
    limited.begin()


def test_requests_at_the_same_time():
    limited, _ = account(concurrent_requests=2)
    limited.begin()
    limited.begin()
    assert "2 requests at the same time" in refusal(limited).message
    limited.end()
    limited.begin()


def test_tokens_of_both_models_delay_the_requests_after_them():
    limited, clock = account(tokens_per_minute=600)
    limited.begin()
    limited.count(TokenUsage(prompt=500, cached=400, completion=50, critic_prompt=250))
    error = refusal(limited)
    assert error.kind == "tokens" and error.retry_after == 21  # 200 too many and one more, ten a second
    clock.now += 20.0
    refusal(limited)
    clock.now += 1.0
    limited.begin()
    assert limited.usage == TokenUsage(prompt=500, cached=400, completion=50, critic_prompt=250)


def test_the_headers_are_openais():
    limited, _ = account(requests_per_minute=60, tokens_per_minute=6000)
    limited.begin()
    limited.count(TokenUsage(prompt=1000))
    assert limited.headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1.000s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5000",
        "x-ratelimit-reset-tokens": "10.000s",
    }
    assert set(limited.headers()) == set(RATE_HEADERS)


def test_a_changed_limit_begins_anew_and_another_keeps_what_is_left():
    limited, _ = account(requests_per_minute=2, tokens_per_minute=100)
    limited.begin()
    limited.begin()
    limited.change(Rates(requests_per_minute=2, tokens_per_minute=50))
    refusal(limited)
    assert limited.headers()["x-ratelimit-remaining-tokens"] == "50"
    limited.change(Rates(requests_per_minute=3))
    limited.begin()


def test_every_count_is_reported():
    reported: list[TokenUsage] = []
    Account(Rates(), Clock(), reported.append).count(TokenUsage(completion=3))
    assert reported == [TokenUsage(completion=3)]
