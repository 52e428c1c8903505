"""Compare formulas by math-verify (sympy), in a separate process that can be killed.

In the program's own process, nothing would bound the time: 9^{9^{9^9}} computes for ever in C. math-verify's
timeouts don't help, because they are signals, which C code doesn't notice and which threads can't use.
"""

import importlib.util
import json
import re
import select
import subprocess
import sys
from threading import Lock
from types import TracebackType
from typing import Self

from .normal_form import LONGEST

START_SECONDS = 60.0  # importing sympy takes long on a busy machine
# math-verify reads letters as factors, so "silent" would equal "listen". Plain words are therefore no
# formula.
_WORDS = re.compile(r"(?=.*[^\W\d_]{3})(?:[^\W\d_]|[\s.,;:!?'\"-])+", re.DOTALL)


class MathVerifier:
    """Compares formulas in a process that it ends when it is left as a context manager.

    Threads may share a verifier; they take turns. A comparison returns False if it takes longer than
    `seconds` or more than `memory_mib`, if a formula has more than LONGEST characters, or if the known answer
    is plain words. Raises ImportError if math-verify isn't installed.
    """

    def __init__(self, *, seconds: float = 5.0, memory_mib: int = 2048) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise ImportError("math-verify is not installed: pip install 'internvl3-serving[math]'")
        self._seconds = seconds
        self._command = [sys.executable, "-m", "ttscaling.answers.math_worker", str(memory_mib)]
        self._worker: subprocess.Popen[str] | None = None
        self._turn = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def same(self, answer: str, known: str) -> bool:
        """Return whether math-verify accepts `answer` for `known`.

        This is no equivalence: to math-verify, 50% equals both 50 and 1/2.
        """
        if max(len(answer), len(known)) > LONGEST or _WORDS.fullmatch(known):
            return False
        with self._turn:
            if self._worker is None:
                self._worker = self._start()
            verdict = _ask(self._worker, json.dumps([answer, known]), self._seconds)
            if verdict is None:
                self._end()
            return verdict == "true"

    def close(self) -> None:
        """End the process. Another comparison would start a new one."""
        with self._turn:
            self._end()

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        worker = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        if _line(worker, START_SECONDS) != "ready":
            worker.kill()
            worker.communicate()
            raise RuntimeError(f"{' '.join(self._command)} did not start: run it to see why")
        return worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _ask(worker: subprocess.Popen[str], question: str, seconds: float) -> str | None:
    """Return the worker's reply, or None if it takes too long or the worker has died."""
    assert worker.stdin is not None, "the worker is started with pipes"
    try:
        worker.stdin.write(f"{question}\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return None
    return _line(worker, seconds)


def _line(worker: subprocess.Popen[str], seconds: float) -> str | None:
    """Return the worker's next line, or None if none comes. The worker writes only complete lines."""
    assert worker.stdout is not None, "the worker is started with pipes"
    ready, _, _ = select.select([worker.stdout], [], [], seconds)
    return (worker.stdout.readline().strip() or None) if ready else None
