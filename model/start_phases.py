"""How far the start of an engine is: its processes write it into files, and the server reads them."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

FOLDER = "INTERNVL3_START_PHASES"  # the variable that names the folder; without it nothing is written
PHASES = ("starting", "loading", "compiling", "warming")


def report_phase(title: str, phase: str) -> None:
    """Write that this process of the engine `title` is in `phase`, one of PHASES."""
    if folder := os.environ.get(FOLDER):
        with suppress(OSError):  # a start fails for no report
            Path(folder, f"{title}.{os.getpid()}").write_text(phase)


def read_phases(folder: Path, titles: Sequence[str]) -> Mapping[str, str]:
    """Return the phase of each engine by its title, which is that of its process that is least far."""
    return {title: _phase([path.read_text() for path in folder.glob(f"{title}.*")]) for title in titles}


def _phase(written: Sequence[str]) -> str:
    # A file that is being written may still be empty.
    known = [PHASES.index(phase) if phase in PHASES else 0 for phase in written]
    return PHASES[min(known, default=0)]
