"""Start a server on this machine for the time of a measurement, and wait until it is ready."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from ttscaling.console import CommandError

from .start_failure import start_failure

CONSOLE_COMMAND = "from clients.cli import main; main()"
START_SECONDS = 600
STOP_SECONDS = 60


@contextmanager
def serving(flags: Sequence[str], log: Path) -> Iterator[str]:
    """Do as `serving_process` does, and yield the server's address alone."""
    with serving_process(flags, log) as (url, _):
        yield url


@contextmanager
def serving_process(flags: Sequence[str], log: Path) -> Iterator[tuple[str, int]]:
    """Run `internvl3 serve` with these flags on a free port.

    Yield its address and the id of its process as soon as it is ready. The server's output goes to `log`. The
    server stops at the end of the block. Raises CommandError if the server ends while it starts, or takes
    longer than START_SECONDS.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_process(serve_command(flags, port), log) as server:
        wait_until_ready(f"{url}/readyz", server, log)
        yield url, server.pid


def serve_command(flags: Sequence[str], port: int) -> list[str]:
    """Return the command that runs `internvl3 serve` with these flags on a port."""
    return [sys.executable, "-c", CONSOLE_COMMAND, "serve", *flags, "--port", str(port)]


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block and yield its process; its output goes to `log`.

    Without `environment` the process gets this process's variables. A process that doesn't stop within
    STOP_SECONDS is killed.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(
    url: str, server: subprocess.Popen[bytes], log: Path, *, seconds: float = START_SECONDS
) -> None:
    """Wait until `url` answers with status 200.

    Raises CommandError if the server ends first or `seconds` pass; the message says why, as far as `log`
    tells it, and names `log`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CommandError(f"the server ended while it started: {_reason(log, server)}")
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # The server doesn't listen yet, or is too busy to answer.
        time.sleep(1)
    raise CommandError(f"the server was not ready after {seconds:g} s: {_reason(log, server)}")


def _reason(log: Path, server: subprocess.Popen[bytes]) -> str:
    return f"{start_failure(log, server.poll())} (its whole log is {log})"
