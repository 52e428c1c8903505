"""Start a real server in a separate process, with the command that an operator uses."""

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ADDRESS = re.compile(r"probes answer on (https?://\S+) and metrics on (http\S+)")
START_SECONDS = 600  # long enough for two engines on a busy machine


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """The address, the log file and the process id of a running server."""

    url: str
    metrics_url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.process.pid


@contextmanager
def serving(env: Mapping[str, str], log: Path, *flags: str) -> Iterator[RunningServer]:
    """Start a server with these flags on a free port, yield it when it is ready, and end it with SIGTERM."""
    with _serving(env, log, command(*flags), None) as running:
        yield running


@contextmanager
def serving_fake(
    log: Path, *flags: str, certificate: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Do the same with a fake engine. `certificate` is the server's own, if it speaks HTTPS."""
    program = [sys.executable, "-m", "tests.server.fake_serving", "--port", "0", *flags]
    with _serving({**os.environ, **(env or {})}, log, program, certificate) as running:
        yield running


@contextmanager
def _serving(
    env: Mapping[str, str], log: Path, program: Sequence[str], certificate: Path | None
) -> Iterator[RunningServer]:
    with log.open("w") as output:
        process = subprocess.Popen(program, env=env, stdout=output, stderr=subprocess.STDOUT)
    verify = ssl.create_default_context(cafile=certificate)
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := ADDRESS.search(log.read_text())) is None:
            _still_running(process, log, deadline)
        with httpx.Client(base_url=found[1], timeout=START_SECONDS, verify=verify) as client:
            while client.get("/readyz").status_code != 200:
                _still_running(process, log, deadline)
        yield RunningServer(url=found[1], metrics_url=found[2], log=log, process=process)
    finally:
        process.terminate()
        process.wait(60)


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "server", "--port", "0", *flags]


def _still_running(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    assert process.poll() is None, f"the server ended with {process.returncode}:\n{log.read_text()}"
    assert time.monotonic() < deadline, f"the server did not get ready:\n{log.read_text()}"
    time.sleep(0.2)
