"""What a bench found: a table for people, one JSON object for programs, a plot when asked."""

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
    """One bench's result.

    `ratio`: ours over the best peer, above 1 is better; `ratio_of` says which case and figure it is. `rows`:
    every system's figures, each row with "system" and "case". `failures`: systems that couldn't run, with the
    reason. `column`: the figure in `rows` that `ratio` compares. `figures`: more of the whole bench,
    keys of the JSON object like `ratio`.
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
    """How many times our `figure` (less is better) the best peer needs on a case; None if a side is missing.

    The best peer is the one with the least median. Ours and its samples are compared repeat by repeat, since
    those were taken next to each other, and the median of that is the ratio.
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
    """Versions of the distributions that are installed, here or in the folders of `path`."""
    found = {"python": platform.python_version()}
    for name in distributions:
        places = metadata.distributions(name=name, path=[*map(str, path), *sys.path])
        for distribution in list(places)[:1]:
            found[name] = distribution.version
    return found


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was with other things."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 1),
    }
