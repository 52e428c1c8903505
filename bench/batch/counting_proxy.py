"""A proxy before one server, as an ingress is, that counts which requests reach the server."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx

CHAT = "/v1/chat/completions"
AWAY = b'{"error": {"message": "no server behind the proxy", "code": "server_away"}}'
PASSED_ON = ("content-type", "x-request-id", "retry-after", "x-should-retry")


class Counts:
    """How often each chat request reached the server, how many were answered, and how many are there now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self.answered = 0
        self.in_flight = 0

    def begin(self, body: bytes) -> None:
        """Note that a request goes to the server."""
        with self._lock:
            self.sent[hashlib.sha256(body).hexdigest()] += 1
            self.in_flight += 1

    def withdraw(self, body: bytes) -> None:
        """Note that a request didn't reach the server."""
        with self._lock:
            self.sent[hashlib.sha256(body).hexdigest()] -= 1
            self.in_flight -= 1

    def end(self, is_answered: bool) -> None:
        """Note that a request has left the server."""
        with self._lock:
            self.in_flight -= 1
            self.answered += is_answered

    @property
    def repeats(self) -> int:
        """How many requests reached the server again."""
        return sum(count - 1 for count in self.sent.values() if count > 1)


@contextmanager
def counting_proxy(upstream: str) -> Iterator[tuple[str, Counts]]:
    """Yield the address of a proxy before `upstream`, and its counts.

    While nothing listens there it answers 503. A connection that breaks off there breaks off here.
    """
    counts = Counts()
    client = httpx.Client(base_url=upstream, timeout=600)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(b"", counted=False)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._pass_on(body, counted=self.path == CHAT)

        def _pass_on(self, body: bytes, *, counted: bool) -> None:
            if counted:
                counts.begin(body)
            is_answered = False
            try:
                reply = client.request(
                    self.command, self.path, content=body, headers={"Content-Type": "application/json"}
                )
                is_answered = reply.is_success
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if counted:
                    counts.withdraw(body)
                self._send(503, {"content-type": "application/json"}, AWAY)
                return
            except httpx.HTTPError:
                self.close_connection = True
                if counted:
                    counts.end(False)
                return
            if counted:
                counts.end(is_answered)
            self._send(reply.status_code, dict(reply.headers), reply.content)

        def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
            try:
                self.send_response(status)
                for name in PASSED_ON:
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client was killed
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Print no line for a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", counts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
