"""The state of a run on disk: written whole or not at all, the last few kept.

Model, optimiser and random generators are accelerate's to save, so that sharded runs save sharded; streams,
progress and the objective's state are JSON beside them. The folder must be one that all processes see.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

_NAME = "step-{:08d}"


@dataclass(frozen=True)
class Snapshot:
    """What a run's next step depends on, besides the model and its optimiser. All of it JSON.

    `streams` holds the state of each stream by its number.
    """

    progress: Mapping[str, int]
    objective: Mapping[str, Any]
    streams: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Checkpoints:
    """States in `folder`: one every `every` steps, the last `keep` of them."""

    folder: Path
    every: int
    keep: int

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise ValueError("a state is saved every 1 step or more, and at least 1 is kept")

    def due(self, step: int) -> bool:
        """Whether a state is saved after this step."""
        return step % self.every == 0

    def saved(self) -> list[Path]:
        """The complete states, oldest first."""
        return sorted(self.folder.glob("step-????????"))

    def latest(self) -> Path | None:
        """The newest complete state."""
        return max(self.saved(), default=None)

    def save(self, snapshot: Snapshot, accelerator: Accelerator) -> None:
        """Called by every process, each with the states of its own streams."""
        final = self.folder / _NAME.format(snapshot.progress["step"])
        unfinished = final.with_name(f"{final.name}.unfinished")
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / "streams").mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(unfinished))
        for index, state in snapshot.streams.items():
            _write(unfinished / "streams" / f"{index:05d}.json", state)
        if accelerator.is_main_process:
            _write(
                unfinished / "run.json",
                {"progress": dict(snapshot.progress), "objective": dict(snapshot.objective)},
            )
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)
            for old in self.saved()[: -self.keep]:
                shutil.rmtree(old)
        accelerator.wait_for_everyone()

    def load(self, path: Path, accelerator: Accelerator, streams: Iterable[int]) -> Snapshot:
        """Puts model, optimiser and random generators back; returns the rest, for these streams.

        The number of processes may be another than when it was saved.

        Raises:
            ValueError: the state has no such stream: it is of a run with another global batch.
        """
        accelerator.load_state(str(path))
        run = json.loads((path / "run.json").read_text())
        states = {}
        for index in streams:
            file = path / "streams" / f"{index:05d}.json"
            if not file.exists():
                raise ValueError(f"{path} is of a run with a smaller global batch: resume with its settings")
            states[index] = json.loads(file.read_text())
        return Snapshot(run["progress"], run["objective"], states)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))
