"""The report of a benchmark: its rows, its ratio, the versions and the machine."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from .contest import Sample


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of one benchmark.

    `ratio` says how many times as good as the best peer we are, so above 1 ours is better; None where it is
    unknown. `ratio_of` names its figure and case in words. `rows` holds every system's figures, each row with
    "system" and "case"; `column` is the figure that a plot shows. `failures` gives the reason for each system
    that couldn't run. `figures` are further figures of the benchmark, which become keys of the JSON object.
    """

    bench: str
    ratio: float | None
    ratio_of: str
    column: str
    rows: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    failures: Mapping[str, str]
    notes: Sequence[str] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)


def ratio(
    samples: Sequence[Sample], case: str, *, ours: str, peers: Sequence[str], figure: str = "cpu_seconds"
) -> float | None:
    """Return how many times our `figure` the best peer needs on a case; None if a side is missing.

    Less of the figure is better, and the best peer is the one with the least median. Its samples are divided
    by ours repeat by repeat, because those were taken next to each other, and the ratio is the median of
    that.
    """
    by_system: dict[str, dict[int, float]] = {}
    for sample in samples:
        if sample.case == case:
            by_system.setdefault(sample.system, {})[sample.repeat] = getattr(sample, figure)
    own = by_system.get(ours)
    theirs = [by_system[peer] for peer in peers if peer in by_system]
    if not own or not theirs:
        return None
    best = min(theirs, key=lambda figures: median(figures.values()))
    return median(best[repeat] / own[repeat] for repeat in own)


def worst_case(ratios: Mapping[str, float | None]) -> tuple[str, float | None]:
    """Return the case with the least ratio, and that ratio; ("", None) if no case has one."""
    known = {case: value for case, value in ratios.items() if value is not None}
    if not known:
        return "", None
    worst = min(known, key=known.__getitem__)
    return worst, known[worst]


def versions(distributions: Sequence[str], path: Sequence[Path] = ()) -> dict[str, str]:
    """Return the versions of Python and of the distributions; one that isn't installed is left out.

    The folders of `path` are searched before the environment.
    """
    known = {"python": platform.python_version()}
    for name in distributions:
        installed = metadata.distributions(name=name, path=[*map(str, path), *sys.path])
        for distribution in list(installed)[:1]:
            known[name] = distribution.version
    return known


def machine() -> dict[str, Any]:
    """Return this machine's processor, cores, memory, system, and load of the last minute."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 1),
    }
