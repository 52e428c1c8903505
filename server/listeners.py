"""The sockets on which a server listens, and the addresses that its operator is told."""

import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .errors import StartupError
from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """The open sockets of one server. They close at the end of a `with` block."""

    main: socket.socket
    metrics: socket.socket | None  # None if /metrics is on the main one
    url: str  # of the main one, without a path
    metrics_url: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.main.close()
        if self.metrics is not None:
            self.metrics.close()


def open_listeners(settings: Settings) -> Listeners:
    """Return the sockets of a server. Raises StartupError, whose message is one line, if a port is taken."""
    scheme = "https" if settings.tls_cert else "http"
    main = _listen(settings.host, settings.port, "--port")
    url = _url(scheme, settings.host, main)
    if settings.metrics_port is None:
        return Listeners(main=main, metrics=None, url=url, metrics_url=f"{url}/metrics")
    try:
        metrics = _listen(settings.host, settings.metrics_port, "--metrics-port")
    except StartupError:
        main.close()
        raise
    metrics_url = f"{_url('http', settings.host, metrics)}/metrics"
    return Listeners(main=main, metrics=metrics, url=url, metrics_url=metrics_url)


def _listen(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise StartupError(f"can't listen on {host}:{port}: {error.strerror}; set --host or {flag}") from None


def _url(scheme: str, host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{listener.getsockname()[1]}"
