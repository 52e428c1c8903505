"""Run one measured system in its process (`python -m bench.harness.worker MODULE:CLASS`).

The process creates one Contender. Each line on standard input is an order (JSON), and one line on standard
output answers it. What the system itself prints goes to standard error.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

MIB = 1024**2


class Contender(Protocol):
    """A system that is measured. Imports and warm-up belong in its constructor, which may be slow."""

    def prepare(self, case: Mapping[str, Any]) -> Any:
        """Return the input of `work`; this isn't measured. `case` is what the benchmark gave to `measure`."""

    def work(self, prepared: Any) -> Any:
        """Do the work that is measured, and return its result."""

    def summary(self, result: Any) -> Any:
        """Return what the benchmark needs to know of a result, as JSON; this isn't measured."""


def main(target: str) -> None:
    """Answer orders until standard input closes. `target` is the Contender as "module:Class"."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        module, _, name = target.partition(":")
        contender: Contender = getattr(import_module(module), name)()
    except Exception as error:  # A peer's import may raise anything, and each error is an answer.
        print(json.dumps({"error": one_line(error)}), file=replies)
        return
    print(json.dumps({"ready": True}), file=replies)
    for line in sys.stdin:
        try:
            reply = run_order(contender, json.loads(line))
        except Exception as error:
            reply = {"error": one_line(error)}
        print(json.dumps(reply), file=replies)


def run_order(contender: Contender, order: Mapping[str, Any]) -> dict[str, Any]:
    """Call `work` on `order["case"]` `order["times"]` times; return mean seconds and peak memory."""
    prepared = contender.prepare(order["case"])
    reset_peak()
    before = memory_mib("VmRSS")
    cpu, wall = cpu_seconds(), time.perf_counter()
    for _ in range(order["times"]):
        result = contender.work(prepared)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {
        "cpu_seconds": cpu / order["times"],
        "wall_seconds": wall / order["times"],
        "peak_mib": memory_mib("VmHWM"),
        "grown_mib": memory_mib("VmHWM") - before,
        "result": contender.summary(result) if order["summary"] else None,
    }


def cpu_seconds() -> float:
    """Return the CPU time of this process with all threads, and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def reset_peak() -> None:
    """Set VmHWM back to the present size, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory_mib(field: str, process: str = "self") -> float:
    """Return a process's memory in MiB, by its id: "VmRSS" is the present size, "VmHWM" the peak."""
    status = Path(f"/proc/{process}/status").read_text()
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kib) * 1024 / MIB


def one_line(error: Exception) -> str:
    """Return the error's class and the start of the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


if __name__ == "__main__":
    main(sys.argv[1])
