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
    """How often each chat request reached the server, and how many were answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self.answered = 0

    def begin(self, body: bytes) -> None:
        """Note that a request goes to the server."""
        with self._lock:
            self.sent[hashlib.sha256(body).hexdigest()] += 1

    def withdraw(self, body: bytes) -> None:
        """Note that a request didn't reach the server."""
        with self._lock:
            self.sent[hashlib.sha256(body).hexdigest()] -= 1

    def note_answer(self) -> None:
        """Note that a request was answered."""
        with self._lock:
            self.answered += 1

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
            try:
                reply = client.request(
                    self.command, self.path, content=body, headers={"Content-Type": "application/json"}
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if counted:
                    counts.withdraw(body)
                self._send(503, {"content-type": "application/json"}, AWAY)
                return
            except httpx.HTTPError:
                self.close_connection = True
                return
            if counted and reply.is_success:
                counts.note_answer()
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

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no error."""

    server = Server(("127.0.0.1", 0), Handler)
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
