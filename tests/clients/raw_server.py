"""A server on a real socket that does with each connection what a test says, down to the bytes."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

PATIENCE = 20.0  # seconds, far more than the time limits of the tests
Script = Callable[[socket.socket], None]


class RawServer:
    """The address of the server, how many connections it took, and the requests that came whole."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self.is_over = Event()  # scripts that are silent wait for it

    def receive(self, connection: socket.socket) -> None:
        """Read one request with its body. Without a length the request has no body."""
        content = b""
        while b"\r\n\r\n" not in content:
            content += self._more(connection)
        head, _, body = content.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(body) < length:
            body += self._more(connection)
        self.requests.append(head + b"\r\n\r\n" + body)

    def _more(self, connection: socket.socket) -> bytes:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the client left")
        return piece

    def closes(self, connection: socket.socket) -> None:
        """Read a request and close the connection without a reply."""
        self.receive(connection)

    def is_silent(self, connection: socket.socket) -> None:
        """Read a request and never reply."""
        self.receive(connection)
        self.is_over.wait()

    def reads_nothing(self, connection: socket.socket) -> None:
        """Take the connection and read no byte of the request."""
        self.is_over.wait()

    def replies(self, content: str, *, status: str = "200 OK", headers: str = "") -> Script:
        """Return a script that replies with this content."""

        def reply(connection: socket.socket) -> None:
            self.receive(connection)
            body = content.encode()
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
            connection.sendall(head.encode() + body)

        return reply

    def stalls_after(self, content: str) -> Script:
        """Return a script that sends the first part of a reply, then nothing, and hangs up in the end.

        So a client that waits too long gets another error.
        """

        def stall(connection: socket.socket) -> None:
            self.receive(connection)
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n"
            connection.sendall((head + content).encode())
            self.is_over.wait(PATIENCE)

        return stall


@contextmanager
def raw_server(scripts: Callable[[RawServer], list[Script]]) -> Iterator[RawServer]:
    """Yield a server that does with each connection in turn what its script says."""
    server = RawServer()
    remaining = scripts(server)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    threads: list[Thread] = []

    def handle(connection: socket.socket, script: Script) -> None:
        with connection, suppress(ConnectionError):
            script(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if server.is_over.is_set() or not remaining:
                connection.close()
                continue
            server.connections += 1
            thread = Thread(target=handle, args=(connection, remaining.pop(0)))
            threads.append(thread)
            thread.start()

    accepting = Thread(target=accept)
    accepting.start()
    try:
        yield server
    finally:
        server.is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join()
