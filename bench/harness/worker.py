"""One measured system in a process of its own: `python -m bench.harness.worker MODULE:CLASS`.

It makes one Contender and obeys one order a line on standard input (JSON), each answered by one line on
standard output. What the system itself prints goes to standard error.
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
    """A system under measurement. Its constructor may be slow: imports and warm-up belong there."""

    def prepare(self, case: Mapping[str, Any]) -> Any:
        """The input of `work`; not measured. `case` is what the bench gave to `measure`."""

    def work(self, prepared: Any) -> Any:
        """What is measured."""

    def summary(self, made: Any) -> Any:
        """What the bench should learn of the result, as JSON; not measured."""


def main(target: str) -> None:
    """Serves orders until standard input closes."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        module, _, name = target.partition(":")
        contender: Contender = getattr(import_module(module), name)()
    except Exception as error:  # whatever a peer's import may raise is the answer
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
    """Works on `order["case"]` `order["times"]` times; seconds are means, memory is the peak."""
    prepared = contender.prepare(order["case"])
    reset_peak()
    before = memory_mib("VmRSS")
    cpu, wall = cpu_seconds(), time.perf_counter()
    for _ in range(order["times"]):
        made = contender.work(prepared)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {
        "cpu_seconds": cpu / order["times"],
        "wall_seconds": wall / order["times"],
        "peak_mib": memory_mib("VmHWM"),
        "grown_mib": memory_mib("VmHWM") - before,
        "result": contender.summary(made) if order["summary"] else None,
    }


def cpu_seconds() -> float:
    """Of this process with all its threads, and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def reset_peak() -> None:
    """Lets VmHWM start again from the present size, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory_mib(field: str) -> float:
    """A size of this process from the kernel, in MiB: "VmRSS" now, "VmHWM" at its peak."""
    status = Path("/proc/self/status").read_text()
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kib) * 1024 / MIB


def one_line(error: Exception) -> str:
    """The error's kind and the start of its first line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


if __name__ == "__main__":
    main(sys.argv[1])
