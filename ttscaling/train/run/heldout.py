"""Evaluate a model on held-out data during a run, on all processes, without any effect on the run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.records.meta import DataSet
from ttscaling.train.objectives.objective import Objective
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.settings.recipe import Recipe

from .global_batch import global_batches, own_streams
from .loop import check_bad_records, until_all_end
from .reference_pass import compute_references
from .task import TrainingTask


@dataclass(frozen=True)
class Heldout:
    """The held-out data sets of a run, each with the task that reads and measures it.

    Each process evaluates a part of every data set. `tasks` come from `heldout_tasks`. `module` is the
    wrapped model. `every` is the number of steps between two evaluations, and `workers` the number of threads
    that prepare packs.
    """

    tasks: Mapping[str, TrainingTask]
    module: nn.Module
    accelerator: Accelerator
    every: int
    workers: int = 1

    @property
    def num_records(self) -> int:
        """The number of records of all data sets."""
        return sum(task.draws or 0 for task in self.tasks.values())

    def due(self, step: int) -> bool:
        """Return whether the model is evaluated after this step."""
        return step % self.every == 0

    def compute_references(self, folder: Path) -> None:
        """Compute the reference's log-probabilities of preference pairs, with the model as it is now.

        Raises as `reference_pass.compute_references`.
        """
        for name, task in self.tasks.items():
            if isinstance(task.objective, Preference):
                own = folder / f"{self.accelerator.num_processes}-processes" / name
                compute_references(self.module, task, self.accelerator, own, workers=self.workers)

    def figures(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Return the figures of all data sets together and, if there are several, of each one as `NAME/loss`.

        Args:
            state: the state of the run's objective, which the held-out objectives take over.

        Raises:
            TooManyBadRecordsError: a data set has more bad records than the recipe allows.
        """
        measured = {name: self._totals(task, state) for name, task in self.tasks.items()}
        objective = next(iter(self.tasks.values())).objective
        figures = objective.heldout_figures(_added(list(measured.values())))
        if len(measured) > 1:
            for name, totals in measured.items():
                own = objective.heldout_figures(totals)
                figures |= {f"{name}/{figure}": value for figure, value in own.items()}
        return figures

    def figures_of_each(self) -> dict[str, dict[str, float]]:
        """Return the figures of each data set by its name. Raises as `figures`."""
        return {
            name: task.objective.heldout_figures(self._totals(task, task.objective.state()))
            for name, task in self.tasks.items()
        }

    @torch.no_grad()
    def _totals(self, task: TrainingTask, state: Mapping[str, Any]) -> dict[str, float]:
        """Return the sums over a data set, and the sum of the weights as `weight`."""
        objective: Objective = task.objective
        objective.restore(state)
        indices = own_streams(
            task.recipe.batch, self.accelerator.process_index, self.accelerator.num_processes
        )
        streams = {index: task.stream(index) for index in indices}
        sums: dict[str, torch.Tensor] = {}
        self.module.eval()
        with closing(global_batches(streams, objective, workers=self.workers)) as batches:
            for packs, totals in until_all_end(batches, self.accelerator):
                sums["weight"] = sums.get("weight", 0) + totals.weight
                for micro in packs.micros:
                    for name, value in self.module(objective.heldout_sums, micro).items():
                        sums[name] = sums.get(name, 0) + value.double()
        self.module.train()
        check_bad_records(streams, task, self.accelerator)
        objective.after_step(lambda own: own)  # An objective forgets what it collected in this evaluation.
        if not sums:
            raise ValueError(
                "held-out data have no record that can be used: `internvl3 train check` names why"
            )
        weight = sums.pop("weight").item()
        own_S = torch.stack(list(sums.values()))
        total_S = self.accelerator.reduce(own_S, reduction="sum").tolist()
        return {"weight": weight, **dict(zip(sums, total_S, strict=True))}


def heldout_tasks(
    data_sets: Sequence[DataSet],
    recipe: Recipe,
    make: Callable[[Sequence[DataSet], Recipe], TrainingTask],
    *,
    num_processes: int,
) -> dict[str, TrainingTask]:
    """Return a task for each held-out data set, which reads each record once and changes no image.

    Args:
        data_sets: the held-out data sets. A `repeat_time` below 1 takes that first part of one.
        recipe: the recipe of the run.
        make: makes a task of data sets and a recipe.
        num_processes: number of processes of the run, each of which reads a part.
    """
    once = replace(recipe, steps=None, epochs=1, batch=num_processes, streams=num_processes)
    return {
        data_set.name: make(
            [replace(data_set, repeat_time=min(1.0, data_set.repeat_time), data_augment=False)], once
        )
        for data_set in data_sets
    }


def _added(totals: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in totals) for name in totals[0]}
