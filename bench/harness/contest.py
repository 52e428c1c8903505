"""Measure systems side by side, each in processes of its own.

The systems take turns, so that a busy machine slows all of them alike.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class System:
    """A system to measure.

    `name` stands in the table and `contender` is its Contender as "module:Class". Its imports are searched
    for in the folders of `path` first.
    """

    name: str
    contender: str
    path: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The figures of one turn of one system on one case.

    They are means over `processes` and over the turn's calls. `cpu_seconds` counts all threads, and children
    that have ended. `grown_mib` is the peak memory less what the process held before. `result` is the
    Contender's summary in the first repeat and None in all others.
    """

    system: str
    case: str
    processes: int
    repeat: int
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    grown_mib: float
    result: Any


class SystemFailed(Exception):
    """A system couldn't start or do its work; the message gives the reason."""


class Worker:
    """A process that runs one system with bench/harness/worker.py."""

    def __init__(self, system: System) -> None:
        path = os.pathsep.join(map(str, (*system.path, ROOT)))
        # Each process gets one thread, because the work of one core is compared.
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        self._system = system
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.harness.worker", system.contender],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, order: Mapping[str, Any]) -> None:
        """Send an order to the process without waiting for its answer."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The process has ended; receive() raises the reason.

    def receive(self) -> dict[str, Any]:
        """Return the next answer. Raises SystemFailed if the system failed or its process ended."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemFailed(f"its process ended with status {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise SystemFailed(reply["error"])
        return reply


def measure(
    systems: Sequence[System],
    cases: Mapping[str, Mapping[str, Any]],
    *,
    repeats: int,
    times: int = 1,
    processes: int = 1,
    fresh: bool = False,
    on_turn: Callable[[], object] = lambda: None,
) -> tuple[list[Sample], dict[str, str]]:
    """Return the samples of every system on every case, and by name why a system has none.

    In each repeat every system has one turn, in the order of `systems`. A system that fails has no further
    turns, and its earlier samples are dropped.

    Args:
        systems: what is measured.
        cases: what the systems work on, by name.
        repeats: turns of each system on each case.
        times: calls in a turn.
        processes: processes that work at once in a turn.
        fresh: start new processes for each turn, so that its memory isn't mixed up with that of the turn
            before, and measure their first call. Otherwise a system's processes stay, and each makes one
            call that isn't measured before its first turn.
        on_turn: called after each turn: len(systems) * len(cases) * repeats times, less often if a system
            fails.
    """
    samples: list[Sample] = []
    failures: dict[str, str] = {}
    teams: dict[str, list[Worker]] = {}

    def start(system: System) -> None:
        teams[system.name] = [Worker(system) for _ in range(processes)]
        for worker in teams[system.name]:
            worker.receive()

    def stop(name: str) -> None:
        for worker in teams.pop(name, []):
            worker.__exit__(None, None, None)

    def turn(system: System, case: str, repeat: int) -> None:
        order = {"case": cases[case], "times": times, "summary": repeat == 0}
        if system.name not in teams:
            start(system)
            if not fresh:
                _together(teams[system.name], order | {"times": 1, "summary": False})
        replies = _together(teams[system.name], order)
        samples.append(_mean(replies, system.name, case, repeat))
        if fresh:
            stop(system.name)

    try:
        for case in cases:
            for repeat in range(repeats):
                for system in systems:
                    if system.name in failures:
                        continue
                    try:
                        turn(system, case, repeat)
                    except SystemFailed as error:
                        failures[system.name] = str(error)
                        stop(system.name)
                    on_turn()
    finally:
        for name in list(teams):
            stop(name)
    return [sample for sample in samples if sample.system not in failures], failures


def _together(team: Sequence[Worker], order: Mapping[str, Any]) -> list[dict[str, Any]]:
    for worker in team:
        worker.send(order)
    return [worker.receive() for worker in team]


def _mean(replies: Sequence[Mapping[str, Any]], system: str, case: str, repeat: int) -> Sample:
    figures = {
        name: sum(reply[name] for reply in replies) / len(replies)
        for name in ("cpu_seconds", "wall_seconds", "peak_mib", "grown_mib")
    }
    return Sample(system, case, len(replies), repeat, result=replies[0]["result"], **figures)
