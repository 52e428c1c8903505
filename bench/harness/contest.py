"""Systems side by side, each in its own processes, taking turns: a busy machine then slows all alike."""

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
    """Its name in the table, its Contender ("module:Class"), and folders to search first for its imports."""

    name: str
    contender: str
    path: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One turn of one system on one case; means over `processes` and over the turn's calls.

    `cpu_seconds` counts all threads and ended children of a call, `grown_mib` its peak memory over what the
    process held before. `result` is the Contender's summary, in the first repeat only.
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
    """A system couldn't start or do its work; the message is its reason."""


class Worker:
    """A process that runs one system; see bench/harness/worker.py."""

    def __init__(self, system: System) -> None:
        path = os.pathsep.join(map(str, (*system.path, ROOT)))
        # One thread each: what is compared is the work of a core.
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
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # receive() tells why

    def receive(self) -> dict[str, Any]:
        """The next answer. Raises SystemFailed."""
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
    """Samples of every system on every case, and why a system has none (name to reason).

    A B C A B C: in each repeat every system has a turn of `times` calls, in `processes` processes at once,
    after one unmeasured call at the very start. `fresh`: new processes for every turn, for memory that must
    not be mixed up with the turn before; there the first call is measured. `on_turn` is called after each
    turn: len(systems) * len(cases) * repeats times, fewer where a system fails.
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
