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
        """Save a state and remove the states that are too old.

        Every process calls this with the states of the streams that it reads.
        """
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
