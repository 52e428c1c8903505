"""The spans of one generation of the policy: until its first token, and from there to its end."""

from collections.abc import Mapping
from typing import Any

from server.engine_interface import CountTokens
from server.telemetry.tracing import Trace
from ttscaling.types import TokenUsage


class GenerationSpans:
    """Traces one generation as `prefill` and then `generate`; nothing without a trace."""

    def __init__(self, trace: Trace | None, kind: str) -> None:
        """`kind` is "plain" or "candidate"."""
        self._trace = trace
        self._kind = kind
        self._span = None if trace is None else trace.begin("prefill", kind=kind)
        self._usage = TokenUsage()

    @property
    def options(self) -> Mapping[str, Any]:
        """The options for vLLM's `generate`, whose own spans then belong to the same trace."""
        return {} if self._span is None else {"trace_headers": self._span.trace.headers()}

    def counting(self, count: CountTokens) -> CountTokens:
        """Return a function that passes tokens on to `count`, and notices the first one."""
        return count if self._trace is None else lambda usage: self._take(usage, count)

    def end(self, *, is_complete: bool) -> None:
        """End the span that is open."""
        if self._span is not None:
            self._span.end(completion_tokens=self._usage.completion, cancelled=None if is_complete else True)

    def _take(self, usage: TokenUsage, count: CountTokens) -> None:
        count(usage)
        if usage.completion and not self._usage.completion:
            assert self._span is not None and self._trace is not None
            prompt = self._usage + usage
            self._span.end(prompt_tokens=prompt.prompt, cached_tokens=prompt.cached)
            self._span = self._trace.begin("generate", kind=self._kind)
        self._usage += usage
