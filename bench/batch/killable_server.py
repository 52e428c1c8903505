"""A nano server at a fixed port that can be killed as a whole, with its engines, and started again."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ttscaling.asking.local_server import CONSOLE_COMMAND, free_port, wait_until_ready


class KillableServer:
    """A context manager that runs `internvl3 serve` in a process group of its own."""

    def __init__(self, log: Path, flags: tuple[str, ...] = ()) -> None:
        self._log, self._flags = log, flags
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address, which stays the same."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server, and return when it is ready. Raises CommandError if it ends before."""
        command = [sys.executable, "-c", CONSOLE_COMMAND, "serve", "--port", str(self._port), *self._flags]
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            wait_until_ready(f"{self.url}/readyz", self._process, self._log)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the server and all its processes with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
