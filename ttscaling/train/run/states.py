"""Save the state of a run on disk, so that the run can be resumed.

accelerate saves the model, the optimiser and the random generators, so a sharded run saves shards. The
streams, the progress and the state of the objective are JSON files beside them. A state is written into an
unfinished folder that is renamed at the end, so a folder with a final name is complete. All processes must
see the same folder.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from .disk import writing

_NAME = "step-{:08d}"


@dataclass(frozen=True)
class Snapshot:
    """What the next step of a run depends on, besides the model and its optimiser. All values are JSON.

    `streams` maps the index of a stream to its state.
    """

    progress: Mapping[str, int]
    objective: Mapping[str, Any]
    streams: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Checkpoints:
    """The saved states of a run in `folder`. One is saved every `every` steps, and the last `keep` are kept.

    Raises ValueError if `every` or `keep` is below 1.
    """

    folder: Path
    every: int
    keep: int

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise ValueError(
                f"states are saved every {self.every} steps and {self.keep} are kept: set both to at least 1"
            )

    def due(self, step: int) -> bool:
        """Return whether a state is saved after this step."""
        return step % self.every == 0

    def saved(self) -> list[Path]:
        """Return the folders of the complete states, oldest first."""
        return sorted(self.folder.glob("step-????????"))

    def latest(self) -> Path | None:
        """Return the folder of the newest complete state, or None."""
        return max(self.saved(), default=None)

    def save(self, snapshot: Snapshot, accelerator: Accelerator) -> None:
        """Save a state, and remove the states that are too old and what is left of an unfinished one.

        Every process calls this with the states of the streams that it reads.

        Raises:
            OSError: the state can't be written, for example because the disk is full. Earlier states stay.
        """
        step, earlier = snapshot.progress["step"], self.latest()
        begins = f"begins from step {int(earlier.name[-8:])}" if earlier else "begins again"
        unfinished = self.folder / f"{_NAME.format(step)}.unfinished"
        if accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
            (unfinished / "streams").mkdir(parents=True)
        accelerator.wait_for_everyone()
        try:
            with writing(f"the state of step {step}", self.folder, f"use --resume, which {begins}"):
                self._write(unfinished, snapshot, accelerator)
        except OSError:
            self._remove_unfinished()
            raise

    def _remove_unfinished(self) -> None:
        for folder in self.folder.glob("step-*.unfinished"):
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, unfinished: Path, snapshot: Snapshot, accelerator: Accelerator) -> None:
        final = unfinished.with_suffix("")
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
        """Restore the model, the optimiser and the random generators, and return the rest of the state.

        The number of processes may differ from the number at the time of saving.

        Args:
            path: the folder of the state.
            accelerator: the one that wrapped the model and the optimiser.
            streams: the indices of the streams whose states are returned.

        Raises:
            ValueError: the state lacks one of these streams, because its run had a smaller global batch.
        """
        accelerator.load_state(str(path))
        run = json.loads((path / "run.json").read_text())
        states = {}
        for index in streams:
            file = path / "streams" / f"{index:05d}.json"
            if not file.exists():
                raise ValueError(
                    f"{path} was saved by a run with a smaller global batch: resume with the batch of that "
                    "run"
                )
            states[index] = json.loads(file.read_text())
        return Snapshot(run["progress"], run["objective"], states)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))
