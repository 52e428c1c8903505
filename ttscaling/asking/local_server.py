"""A server of our own for the time of a measurement, in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ttscaling.console import CommandError

CONSOLE_COMMAND = "from clients.cli import main; main()"
START_SECONDS = 600


@contextmanager
def serving(flags: Sequence[str], log: Path) -> Iterator[str]:
    """`internvl3 serve` with these flags on a free port, ready; ended with the block. Yields its address.

    Raises EvaluationError if it ends or takes too long; the message names its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", CONSOLE_COMMAND, "serve", *flags, "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(server, url, log)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CommandError(f"the server ended while starting; see {log}")
        try:
            urlopen(f"{url}/readyz", timeout=5).close()
            return
        except (URLError, TimeoutError):
            time.sleep(1)
    raise CommandError(f"the server was not ready after {START_SECONDS} s; see {log}")
