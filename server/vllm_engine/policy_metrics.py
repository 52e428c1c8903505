"""The Prometheus metrics of each generation of the policy's engine: of plain answers and of candidates."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from ttscaling.types import TokenUsage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
DELTAS = (1 / 256, 1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


class PolicyMetrics:
    """Counters and histograms in the registry of one engine. The label `kind` is "plain" or "candidate"."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._first = Histogram(
            "internvl3_time_to_first_token_seconds",
            "Seconds from the rendered prompt to the first token of a plain answer or of a candidate.",
            ("kind",),
            buckets=SECONDS,
            registry=registry,
        )
        self._gaps = Histogram(
            "internvl3_time_between_tokens_seconds",
            "Seconds between two tokens of one plain answer or of one candidate.",
            ("kind",),
            buckets=GAPS,
            registry=registry,
        )
        self._cancelled = Counter(
            "internvl3_cancelled_tokens",
            "Tokens of answers and candidates that were cancelled before their end.",
            ("kind",),
            registry=registry,
        )
        self._deltas = Histogram(
            "internvl3_v2pe_delta",
            "Deltas of V2PE in prompts with images or videos: the first one and each change of it.",
            buckets=DELTAS,
            registry=registry,
        )

    def observe_deltas(self, deltas: Sequence[float]) -> None:
        """Count the deltas of one prompt."""
        for delta in deltas:
            self._deltas.observe(delta)

    def generation(self, kind: str, *, choices: int, count: Callable[[TokenUsage], None]) -> "Generation":
        """Return the times of a generation that begins now.

        Args:
            kind: "plain" or "candidate".
            choices: how many answers the engine writes at the same time; the tokens of several have no times
                between them.
            count: gets the tokens, too.
        """
        gaps = self._gaps.labels(kind) if choices == 1 else None
        return Generation(self._first.labels(kind), gaps, self._cancelled.labels(kind), count, self._clock)


class Generation:
    """One request of the policy's engine."""

    def __init__(
        self,
        first: Histogram,
        gaps: Histogram | None,
        cancelled: Counter,
        count: Callable[[TokenUsage], None],
        clock: Callable[[], float],
    ) -> None:
        """See `PolicyMetrics.generation`."""
        self._first = first
        self._gaps = gaps
        self._cancelled = cancelled
        self._count = count
        self._clock = clock
        self._last = clock()
        self._tokens = 0

    def take(self, usage: TokenUsage) -> None:
        """Count what the engine has taken in one step."""
        self._count(usage)
        if not usage.completion:
            return
        now = self._clock()
        if not self._tokens:
            self._first.observe(now - self._last)
        elif self._gaps is not None:
            for _ in range(usage.completion):  # several at once with speculative decoding
                self._gaps.observe((now - self._last) / usage.completion)
        self._last = now
        self._tokens += usage.completion

    def cancel(self) -> None:
        """Count the tokens as cancelled."""
        self._cancelled.inc(self._tokens)
