"""Mathematical equality by math-verify (sympy), in a process that can be killed.

In this process it would be neither safe nor bounded: 9^{9^{9^9}} computes for ever in C, where its own
timeouts, which are signals and so refuse to run in threads, don't reach.
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

START_SECONDS = 60.0  # to import sympy, on a busy machine
# Letters are factors to math-verify, so "silent" would be "listen": what has no sign of a formula is text.
_WORDS = re.compile(r"(?=.*[^\W\d_]{3})(?:[^\W\d_]|[\s.,;:!?'\"-])+", re.DOTALL)


class MathVerifier:
    """Compares formulas; a context manager. Threads may share one: they take turns.

    A comparison that takes longer than `seconds`, or more than `memory_mib`, is answered with False, as is
    one of formulas beyond LONGEST characters, or with plain words. Raises ImportError where math-verify isn't
    installed.
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
        """Whether math-verify takes `answer` for `known`; no equivalence: 50% is both 50 and 1/2 to it."""
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
        """End the process. The next comparison starts another."""
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
            raise RuntimeError(f"{' '.join(self._command)} did not start; run it to see why")
        return worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _ask(worker: subprocess.Popen[str], question: str, seconds: float) -> str | None:
    """The worker's line, None if it took too long or died."""
    assert worker.stdin is not None, "started with pipes"
    try:
        worker.stdin.write(f"{question}\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return None
    return _line(worker, seconds)


def _line(worker: subprocess.Popen[str], seconds: float) -> str | None:
    """Its next line (never part of one: it writes whole lines), None if none comes."""
    assert worker.stdout is not None, "started with pipes"
    ready, _, _ = select.select([worker.stdout], [], [], seconds)
    return (worker.stdout.readline().strip() or None) if ready else None
