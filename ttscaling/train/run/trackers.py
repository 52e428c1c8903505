"""Start accelerate's trackers (TensorBoard, Weights & Biases and others) for a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

PROJECT = "internvl3-train"
"""The name of the project in every tracker. TensorBoard's files are in a folder of this name."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that these trackers are known to accelerate and installed. Raises ValueError with advice."""
    unknown = [name for name in names if name not in LOGGER_TYPE_TO_CLASS]
    if unknown:
        known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
        raise ValueError(f"there is no tracker {', '.join(unknown)}: use some of {known}")
    installed = [str(tracker) for tracker in get_available_trackers()]
    missing = [name.replace("_", "-") for name in names if name not in installed]
    if missing:
        raise ValueError(
            f"a package for --track isn't installed: run `pip install {' '.join(missing)}`, or leave it out"
        )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, float | str | bool]:
    """Return nested settings in one level, with names like `recipe.batch`; lists become texts."""
    result: dict[str, float | str | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value if isinstance(value, int | float) else str(value)
    return result


@dataclass(frozen=True)
class Trackers:
    """The trackers of a run, which work on the main process only.

    `names` are some that `check_trackers` accepts. `folder` is for trackers that write files. `settings` are
    those of the run, which may be nested.
    """

    accelerator: Accelerator
    names: Sequence[str]
    folder: Path
    settings: Mapping[str, Any]

    def start(self, step: int) -> None:
        """Start the trackers of a run that continues after `step`.

        TensorBoard hides what an earlier attempt logged after this step.
        """
        if not self.names:
            return
        self.accelerator.log_with = list(self.names)
        self.accelerator.project_configuration.set_directories(str(self.folder))
        self.accelerator.init_trackers(
            PROJECT, config=flat(self.settings), init_kwargs={"tensorboard": {"purge_step": step + 1}}
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Give the figures of a step to each tracker."""
        self.accelerator.log(dict(figures), step=step)

    def finish(self) -> None:
        """Close the trackers."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
