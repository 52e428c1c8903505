"""Compute the reference model's log-probabilities for a preference run before its first step.

The reference is the model that the run starts from. It sees the same packs as the run. So the references cost
one forward pass over the data, and no second model is kept in memory.
"""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.train.objectives.preference import Preference
from ttscaling.train.objectives.references import References, write_references

from .global_batch import global_batches, own_streams
from .loop import bad_records_of_all_processes, check_bad_records, until_all_end
from .task import TrainingTask


def compute_references(
    module: nn.Module, task: TrainingTask, accelerator: Accelerator, folder: Path, *, workers: int = 1
) -> None:
    """Write the references of all draws of the run, one file for each process, and set the objective's.

    Complete files of the same run are used again.

    Args:
        module: the wrapped model before its first step.
        task: the task of a preference run.
        accelerator: the one that wrapped the model.
        folder: where the files are. All processes must see it.
        workers: number of threads that prepare packs.

    Raises:
        ValueError: the files are those of another run, or too many records are bad.
    """
    objective: Preference = task.objective  # type: ignore[assignment]
    rank, num_processes = accelerator.process_index, accelerator.num_processes
    identity = identity_of(task)
    if not (folder / "complete").exists():
        rows = _rows(module, task, accelerator, workers)
        write_references(folder / f"{rank:05d}-of-{num_processes:05d}.jsonl", rows, identity)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (folder / "complete").touch()
        accelerator.wait_for_everyone()
    objective.references = References(sorted(folder.glob("*.jsonl")), identity)


def identity_of(task: TrainingTask) -> dict[str, Any]:
    """Return the settings that references depend on, as JSON: those of the draws and their preparation."""
    mixture: Mapping[str, Any] = task.stream(0).mixture.identity()
    recipe = task.recipe.as_json()
    prepared = {key: recipe[key] for key in ("image_tiles", "deltas", "precision")}
    return {**mixture, **prepared}


def _rows(
    module: nn.Module, task: TrainingTask, accelerator: Accelerator, workers: int
) -> list[tuple[int, float, float]]:
    objective: Preference = task.objective  # type: ignore[assignment]
    indices = own_streams(task.recipe.batch, accelerator.process_index, accelerator.num_processes)
    streams = {index: task.stream(index) for index in indices}
    rows: list[tuple[int, float, float]] = []
    module.eval()
    with closing(global_batches(streams, objective, workers=workers)) as batches, torch.no_grad():
        for step, (packs, _) in enumerate(until_all_end(batches, accelerator), start=1):
            for micro in packs.micros:
                sum_R, _ = module(objective.log_probs, micro)
                chosen_P, rejected_P = sum_R.double()[0::2].tolist(), sum_R.double()[1::2].tolist()
                rows += zip(micro.batch.draws, chosen_P, rejected_P, strict=True)
            if step == task.recipe.steps or bad_records_of_all_processes(streams, task, accelerator).too_many:
                break
    check_bad_records(streams, task, accelerator)
    module.train()
    return rows
