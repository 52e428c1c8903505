"""Save after each step how far a pass over the data is, so that a pass that was cut off goes on.

Each process has a small JSON file with the states of its streams after its last step and after the step
before. All processes take their steps together, so the last step that one of them saved is in the files of
all. A file is written beside its name and renamed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PassState:
    """The steps of a pass so far, with the samples and tokens of all processes, and the states of streams.

    `streams` maps the index of a stream, as text, to its state.
    """

    step: int = 0
    samples: int = 0
    tokens: int = 0
    streams: Mapping[str, Any] = field(default_factory=dict)


class PassStates:
    """The saved states of a pass in a folder, of which this process writes one file.

    Args:
        folder: the folder, which all processes see.
        rank: the number of this process.
        num_processes: the number of processes.
    """

    def __init__(self, folder: Path, rank: int, num_processes: int):
        self._folder = folder
        self._path = folder / f"{rank:05d}-of-{num_processes:05d}.state"
        self._before: PassState | None = None

    def save(self, state: PassState) -> None:
        """Save the state of this process after a step."""
        last_two = [asdict(each) for each in (state, self._before) if each is not None]
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(last_two))
        unfinished.replace(self._path)
        self._before = state

    def latest(self) -> PassState:
        """Return the last state that is complete, with the streams of all processes, or that of the start.

        The number of processes may have been another one. Call it on all processes before any of them saves.
        """
        names = {path.name.rpartition("-of-")[2] for path in self._folder.glob("*.state")}
        found = (_latest_of(sorted(self._folder.glob(f"*-of-{name}"))) for name in sorted(names))
        return max((state for state in found if state), key=lambda state: state.step, default=PassState())


def _latest_of(paths: Iterable[Path]) -> PassState | None:
    """Return the last state that the files of all processes of one attempt hold, or None."""
    saved = [(path, {state["step"]: state for state in json.loads(path.read_text())}) for path in paths]
    num_processes = int(saved[0][0].stem.rpartition("-of-")[2])
    common = min(max(states) for _, states in saved)
    if len(saved) != num_processes or not all(common in states for _, states in saved):
        return None
    streams = [states[common]["streams"] for _, states in saved]
    joined = {index: state for own in streams for index, state in own.items()}
    return PassState(**{**saved[0][1][common], "streams": joined})
