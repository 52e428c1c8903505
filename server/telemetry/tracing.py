"""OpenTelemetry traces: where the time of a request goes. They are off unless an operator names a receiver.

This is the only file that imports OpenTelemetry, and it does so only if traces are on. Spans hold names and
numbers, and of an error its type, but never what a client has sent or got.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from server.errors import ApiError, StartupError

SERVICE = "internvl3-serving"
PATH = "/v1/traces"  # of a receiver of OTLP over HTTP
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
TRACE_HEADERS = ("traceparent", "tracestate")


class Span:
    """A piece of work with a begin and an end."""

    def __init__(self, tracer: Any, span: Any) -> None:
        """Keep OpenTelemetry's span, which has begun."""
        self._tracer = tracer
        self._span = span
        self._is_over = False

    @property
    def trace(self) -> "Trace":
        """The trace for the work within this span."""
        from opentelemetry.trace import set_span_in_context

        return Trace(self._tracer, set_span_in_context(self._span))

    def rename(self, name: str) -> None:
        """Give the span its final name."""
        self._span.update_name(name)

    def end(self, error: BaseException | None = None, **attributes: Any) -> None:
        """End the span. Attributes that are None are left out. A second end has no effect."""
        if self._is_over:
            return
        self._is_over = True
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            kind = error.code if isinstance(error, ApiError) else type(error).__name__
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


@dataclass(frozen=True)
class Trace:
    """One request's trace, at the span to which further spans belong."""

    tracer: Any
    context: Any  # OpenTelemetry's

    def begin(self, name: str, **attributes: Any) -> Span:
        """Return a span that begins now."""
        return Span(self.tracer, self.tracer.start_span(name, context=self.context, attributes=attributes))

    def headers(self) -> Mapping[str, str]:
        """Return the headers that continue this trace in another process."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers, context=self.context)
        return headers


CURRENT_TRACE: ContextVar[Trace | None] = ContextVar("internvl3_trace", default=None)


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """Trace the block, which runs in one task, as a span of the request. Spans within it belong to it."""
    trace = CURRENT_TRACE.get()
    if trace is None:
        yield
        return
    begun = trace.begin(name, **attributes)
    token = CURRENT_TRACE.set(begun.trace)
    try:
        yield
    except BaseException as error:
        begun.end(error)
        raise
    finally:
        CURRENT_TRACE.reset(token)
        begun.end()


class Tracing:
    """The traces of one server, which are sent to a receiver in the background."""

    def __init__(self, endpoint: str | None) -> None:
        """Set up OpenTelemetry's SDK, which also reads its OTEL_ variables.

        Args:
            endpoint: the URL of the receiver of OTLP over HTTP, without or with its path /v1/traces; None for
                the one that the variables name.

        Raises:
            StartupError: the packages are not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise StartupError(f"--otlp-endpoint needs the package {error.name}: install it") from None
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        resource = Resource.create({} if named else {"service.name": SERVICE})
        if endpoint is not None and not endpoint.rstrip("/").endswith(PATH):
            endpoint = endpoint.rstrip("/") + PATH
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer(SERVICE)

    def begin_request(self, name: str, headers: Mapping[str, str]) -> Span:
        """Return the span of a request, which continues the client's trace if `headers` name one."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {header: headers[header] for header in TRACE_HEADERS if header in headers}
        context = TraceContextTextMapPropagator().extract(carrier)
        begun = self._tracer.start_span(name, context=context, kind=SpanKind.SERVER)
        return Span(self._tracer, begun)

    def close(self) -> None:
        """Send what is left. This blocks for seconds if the receiver doesn't answer."""
        self._provider.shutdown()


def start_tracing(endpoint: str | None, environment: Mapping[str, str]) -> Tracing | None:
    """Return the traces of a server, or None if neither its setting nor a variable names a receiver.

    Raises StartupError if the packages are not installed.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if endpoint is None and not any(environment.get(name) for name in ENDPOINTS):
        return None
    return Tracing(endpoint)
