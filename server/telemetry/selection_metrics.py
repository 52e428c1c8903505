"""What choices among candidates count in Prometheus: how they ended, what failed in them, what they took."""

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
    """All labels are of closed sets: methods, reasons, outcomes, the two models."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "internvl3_selections",
            "Choices among candidates, by how they ended: chosen, or why not.",
            ("method", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "internvl3_selection_seconds",
            "From the rendered prompt to the chosen candidate.",
            ("method",),
            buckets=SECONDS,
            registry=registry,
        )
        self._size = Histogram(
            "internvl3_selection_n",
            "Candidates that were asked for.",
            ("method",),
            buckets=SIZES,
            registry=registry,
        )
        self._stopped = Counter(
            "internvl3_selections_stopped",
            "Choices that a rule or a cap ended early.",
            ("reason",),
            registry=registry,
        )
        self._degraded = Counter(
            "internvl3_selections_degraded",
            "Choices in which all scores failed (critic), some did (scores), or candidates did (candidates).",
            ("reason",),
            registry=registry,
        )
        self._candidates = Counter(
            "internvl3_candidates",
            "Candidates of choices that were made: finished, abandoned, or failed (also: not valid).",
            ("outcome",),
            registry=registry,
        )
        self._tokens = Counter(
            "internvl3_selection_tokens",
            "Tokens of all choices, also of those that nobody waited for.",
            ("model", "kind"),
            registry=registry,
        )

    @contextmanager
    def timed_selection(self, method: str, n: int, usage: Callable[[], TokenUsage]) -> Iterator[None]:
        """Around a choice, whatever its end; `usage` is asked then."""
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

    def count_selection(self, selection: Selection, *, by_critic: bool) -> None:
        """A candidate was chosen."""
        if selection.stopped is not None:
            self._stopped.labels(selection.stopped).inc()
        finished = [c for c in selection.candidates if c.candidate.finish_reason != ABANDONED]
        self._candidates.labels("finished").inc(len(finished))
        self._candidates.labels("abandoned").inc(len(selection.candidates) - len(finished))
        self._candidates.labels("failed").inc(selection.failed)
        if selection.failed:
            self._degraded.labels("candidates").inc()
        unscored = [c for c in finished if c.score is None]
        if by_critic and unscored and selection.degraded is not None:
            self._degraded.labels("critic" if len(unscored) == len(finished) else "scores").inc()

    def _count(self, usage: TokenUsage) -> None:
        for model, kind, tokens in (
            ("policy", "prompt_computed", usage.prompt - usage.cached),
            ("policy", "prompt_cached", usage.cached),
            ("policy", "completion", usage.completion),
            ("critic", "prompt_computed", usage.critic_prompt - usage.critic_cached),
            ("critic", "prompt_cached", usage.critic_cached),
        ):
            self._tokens.labels(model, kind).inc(tokens)
