"""The Prometheus metrics of test-time scaling: outcomes, failures, durations and token usage."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

from server.errors import ApiError
from ttscaling.types import ABANDONED, CriticError, OutOfTime, Selection, TokenUsage

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (CriticError, "critic_failed"),
    (OutOfTime, "out_of_time"),
    (ApiError, "refused"),
    (asyncio.CancelledError, "cancelled"),
    (BaseException, "failed"),
)


class SelectionMetrics:
    """The counters and histograms of selections. Every label has a fixed set of values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "internvl3_selections",
            "Selections among candidates, by outcome: chosen, or the reason why none was chosen.",
            ("method", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "internvl3_selection_seconds",
            "Seconds from the rendered prompt to the end of the selection.",
            ("method",),
            buckets=SECONDS,
            registry=registry,
        )
        self._size = Histogram(
            "internvl3_selection_n",
            "Candidates that a request asked for.",
            ("method",),
            buckets=SIZES,
            registry=registry,
        )
        self._stopped = Counter(
            "internvl3_selections_stopped",
            "Selections that ended early because of a stopping rule or a cap.",
            ("reason",),
            registry=registry,
        )
        self._degraded = Counter(
            "internvl3_selections_degraded",
            "Selections in which all scores failed (critic), some scores failed (scores), "
            "or some candidates failed (candidates).",
            ("reason",),
            registry=registry,
        )
        self._candidates = Counter(
            "internvl3_candidates",
            "Candidates of completed selections: finished, abandoned, or failed. Invalid candidates "
            "count as failed.",
            ("outcome",),
            registry=registry,
        )
        self._scores = Counter(
            "internvl3_scores",
            "Answers that the critic was asked to score: scored, failed, or cancelled before it was done.",
            ("outcome",),
            registry=registry,
        )
        self._critic_seconds = Histogram(
            "internvl3_critic_seconds",
            "Seconds in which the critic has scored a candidate, its time in the critic's queue included.",
            buckets=SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "internvl3_selection_tokens",
            "Tokens that all selections took, including cancelled ones.",
            ("model", "kind"),
            registry=registry,
        )

    @contextmanager
    def timed_selection(self, method: str, n: int, usage: Callable[[], TokenUsage]) -> Iterator[None]:
        """Record the outcome, the duration and the usage of the selection that runs in the `with` block.

        An exception of the block decides the outcome and passes through. `usage` is called once, at the end.
        """
        begun, outcome = time.perf_counter(), "chosen"
        try:
            yield
        except BaseException as error:
            outcome = next(name for kind, name in OUTCOMES if isinstance(error, kind))
            raise
        finally:
            self._ended.labels(method, outcome).inc()
            self._size.labels(method).observe(n)
            self._seconds.labels(method).observe(time.perf_counter() - begun)
            self._count(usage())

    @contextmanager
    def timed_score(self) -> Iterator[None]:
        """Record how the scoring of one answer in the `with` block ends, and its duration if it ends well."""
        begun, outcome = time.perf_counter(), "scored"
        try:
            yield
            self._critic_seconds.observe(time.perf_counter() - begun)
        except BaseException as error:
            outcome = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
            raise
        finally:
            self._scores.labels(outcome).inc()

    def count_scores(self, *, scored: int, failed: int) -> None:
        """Count the answers of a request to `/v1/critic/score`."""
        self._scores.labels("scored").inc(scored)
        self._scores.labels("failed").inc(failed)

    def count_selection(self, selection: Selection, *, by_critic: bool) -> None:
        """Count the candidates and failures of a completed selection."""
        if selection.stopped is not None:
            self._stopped.labels(selection.stopped).inc()
        finished = [c for c in selection.candidates if c.candidate.finish_reason != ABANDONED]
        self._candidates.labels("finished").inc(len(finished))
        self._candidates.labels("abandoned").inc(len(selection.candidates) - len(finished))
        self._candidates.labels("failed").inc(selection.failed)
        if selection.failed:
            self._degraded.labels("candidates").inc()
        unscored = [c for c in finished if c.score is None]
        if by_critic and selection.valid and unscored and selection.degraded is not None:
            self._degraded.labels("critic" if len(unscored) == len(finished) else "scores").inc()

    def _count(self, usage: TokenUsage) -> None:
        for model, kind, tokens in usage_by_model(usage):
            self._tokens.labels(model, kind).inc(tokens)


def usage_by_model(usage: TokenUsage) -> Iterator[tuple[str, str, int]]:
    """Yield the model, the kind and the number of its tokens, as the labels of counters name them."""
    yield "policy", "prompt_computed", usage.prompt - usage.cached
    yield "policy", "prompt_cached", usage.cached
    yield "policy", "completion", usage.completion
    yield "critic", "prompt_computed", usage.critic_prompt - usage.critic_cached
    yield "critic", "prompt_cached", usage.critic_cached
