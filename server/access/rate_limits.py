"""Limit the requests and tokens of one API key per minute, and its requests at the same time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from server.engine_interface import CountTokens, ignore_tokens
from server.errors import ApiError
from ttscaling.types import TokenUsage

MINUTE = 60.0
RATE_HEADERS = tuple(
    f"x-ratelimit-{figure}-{kind}"
    for kind in ("requests", "tokens")
    for figure in ("limit", "remaining", "reset")
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The limits of one key. None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


class Allowance:
    """What is left of a limit per minute. It fills up steadily, to one minute's worth at most."""

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._time = now

    def left(self, now: float) -> float:
        """Return what is left; it is below zero if more was used than there was."""
        gained = (now - self._time) * self.per_minute / MINUTE
        self._left, self._time = min(self.per_minute, self._left + gained), now
        return self._left

    def take(self, count: float, now: float) -> None:
        """Use `count`, also if less is left."""
        self._left = self.left(now) - count

    def seconds_until(self, count: float, now: float) -> float:
        """Return the seconds until `count` is left."""
        return max(0.0, (count - self.left(now)) * MINUTE / self.per_minute)


class Account:
    """What one key uses: its requests now, its requests and its tokens in the last minute, all its tokens.

    Tokens are known only after they were used. So a request begins while any token of the minute is left, and
    what it takes beyond that delays the requests after it.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float], report: CountTokens = ignore_tokens) -> None:
        """Begin with nothing used.

        Args:
            rates: the limits.
            clock: returns seconds that never go back.
            report: gets the tokens of each count, too.
        """
        self._clock = clock
        self._report = report
        self._running = 0
        self.usage = TokenUsage()
        self._rates = Rates()
        self._requests: Allowance | None = None
        self._tokens: Allowance | None = None
        self.change(rates)

    def change(self, rates: Rates) -> None:
        """Set other limits. A limit that stays the same keeps what is left of it."""
        now = self._clock()
        if rates.requests_per_minute != self._rates.requests_per_minute:
            self._requests = _allowance(rates.requests_per_minute, now)
        if rates.tokens_per_minute != self._rates.tokens_per_minute:
            self._tokens = _allowance(rates.tokens_per_minute, now)
        self._rates = rates

    def begin(self) -> None:
        """Count a request until `end`. Raises ApiError (429) if it is beyond a limit, and counts nothing."""
        now = self._clock()
        most = self._rates.concurrent_requests
        if most is not None and self._running >= most:
            raise _too_many(f"{most} requests at the same time", "requests", 1.0)
        if self._tokens is not None and self._tokens.left(now) <= 0:
            wait = self._tokens.seconds_until(1, now)
            raise _too_many(f"{self._tokens.per_minute} tokens a minute", "tokens", wait)
        if self._requests is not None:
            if self._requests.left(now) < 1:
                wait = self._requests.seconds_until(1, now)
                raise _too_many(f"{self._requests.per_minute} requests a minute", "requests", wait)
            self._requests.take(1, now)
        self._running += 1

    def end(self) -> None:
        """Say that a request has ended which `begin` has counted."""
        self._running -= 1

    def count(self, usage: TokenUsage) -> None:
        """Count the tokens that an engine request of this key has taken, in both models."""
        self.usage += usage
        self._report(usage)
        if self._tokens is not None:
            self._tokens.take(usage.prompt + usage.completion + usage.critic_prompt, self._clock())

    def headers(self) -> dict[str, str]:
        """Return OpenAI's x-ratelimit headers for the limits that the key has."""
        now = self._clock()
        headers: dict[str, str] = {}
        for kind, allowance in (("requests", self._requests), ("tokens", self._tokens)):
            if allowance is not None:
                headers |= {
                    f"x-ratelimit-limit-{kind}": str(allowance.per_minute),
                    f"x-ratelimit-remaining-{kind}": str(max(0, math.floor(allowance.left(now)))),
                    f"x-ratelimit-reset-{kind}": f"{allowance.seconds_until(allowance.per_minute, now):.3f}s",
                }
        return headers


def _allowance(per_minute: int | None, now: float) -> Allowance | None:
    return None if per_minute is None else Allowance(per_minute, now)


def _too_many(limit: str, kind: str, wait: float) -> ApiError:
    seconds = max(1, math.ceil(wait))
    return ApiError(
        f"This API key may use {limit}. Retry in {seconds} seconds.",
        status=429,
        code="rate_limit_exceeded",
        kind=kind,
        retry_after=seconds,
    )
