"""Start a real server in a separate process, with the command that an operator uses."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ADDRESS = re.compile(r"probes answer on (http://\S+)")
START_SECONDS = 600  # long enough for two engines on a busy machine


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """The address, the log file and the process id of a running server."""

    url: str
    log: Path
    pid: int


@contextmanager
def serving(env: Mapping[str, str], log: Path, *flags: str) -> Iterator[RunningServer]:
    """Start a server with these flags on a free port, yield it when it is ready, and end it with SIGTERM."""
    with log.open("w") as output:
        process = subprocess.Popen(command(*flags), env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := ADDRESS.search(log.read_text())) is None:
            _still_running(process, log, deadline)
        with httpx.Client(base_url=found[1], timeout=START_SECONDS) as client:
            while client.get("/readyz").status_code != 200:
                _still_running(process, log, deadline)
        yield RunningServer(url=found[1], log=log, pid=process.pid)
    finally:
        process.terminate()
        process.wait(60)


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "server", "--port", "0", *flags]


def _still_running(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    assert process.poll() is None, f"the server ended with {process.returncode}:\n{log.read_text()}"
    assert time.monotonic() < deadline, f"the server did not get ready:\n{log.read_text()}"
    time.sleep(0.2)
