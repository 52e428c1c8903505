"""A chat server on a real socket that counts what it is asked, and goes away when a test says so."""

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from tests.clients.chat_server import SETUP, Reply, completion

Answer = Callable[[dict[str, Any]], Reply]


def echo(body: Mapping[str, Any]) -> Reply:
    """The answer to a question is a hash of the whole request, so that no two questions have the same."""
    return Reply(completion(hash_of(body)), headers={"X-Request-Id": f"req-{hash_of(body)[:6]}"})


def hash_of(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


class PaidServer:
    """A server whose replies are those of `answer`. `paid` counts the requests that were answered with 200.

    `kill` cuts all its connections, and `start` brings it back at its address.
    """

    def __init__(self, answer: Answer = echo, setup: Mapping[str, Any] = SETUP) -> None:
        self.answer, self.setup = answer, dict(setup)
        self.ready = 200
        self.paid: Counter[str] = Counter()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)

            def do_GET(self) -> None:
                if self.path == "/readyz":
                    self._send(Reply({}, outer.ready))
                else:
                    card = {"id": "nano", "object": "model", "setup": outer.setup}
                    self._send(Reply({"object": "list", "data": [card]}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path.endswith("/render"):
                    self._send(Reply({"error": {"message": "Not Found"}}, 404))
                    return
                with outer._lock:
                    outer._now += 1
                    outer.most_at_once = max(outer.most_at_once, outer._now)
                    outer.asked.append(body)
                    outer.headers.append(dict(self.headers))
                try:
                    reply = outer.answer(body)
                finally:
                    with outer._lock:
                        outer._now -= 1
                        if reply.status == 200:
                            outer.paid[hash_of(body)] += 1
                with suppress(OSError):
                    self._send(reply)

            def _send(self, reply: Reply) -> None:
                content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Print no line for a request."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A connection that was cut is no error of the server."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def kill(self) -> None:
        """Stop listening and cut every connection, also of requests that are being answered."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()
