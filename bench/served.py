"""Our own server in a process of its own, as an operator starts it, on the nano checkpoints."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

ADDRESS = re.compile(r"probes answer on (http://\S+)")


@contextmanager
def serving(*flags: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A ready server with these flags on a free port, its address, and its process; ended on leaving.

    Raises RuntimeError with the end of its log where it doesn't start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--port", "0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := ADDRESS.search(line):
                break
        else:
            raise RuntimeError(f"the server did not start: {''.join(lines[-5:])}")
        while process.poll() is None and not _ready(found[1]):
            time.sleep(0.5)
        if process.poll() is not None:
            raise RuntimeError(f"the server did not start: {process.stdout.read()[-500:]}")
        yield found[1], process
    finally:
        process.terminate()
        process.wait(60)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:  # it is ending
        return False
