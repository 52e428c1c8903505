"""The reference model's log-probabilities for a preference run, computed before its first step.

The reference is the model that the run starts from. It sees the very packs that the run will see, so one
forward pass over the data is all that it costs, and no second model is kept in memory.
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
    """Writes the references of all draws of the run, a file for each process, and sets the objective's.

    Files that are there already are used, if they are complete and of this very run.

    Args:
        module: the wrapped model before its first step.
        task: a preference run.
        accelerator: that wrapped it.
        folder: for the files; all processes see it.
        workers: threads that prepare packs.

    Raises:
        ValueError: files are there, but of another run; or too many records are bad.
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
    """What references depend on, as JSON: the draws and how they are prepared."""
    mixture: Mapping[str, Any] = task.stream(0).mixture.identity()
    recipe = task.recipe.as_json()
    prepared = {key: recipe[key] for key in ("image_tiles", "deltas", "precision")}
    return {**mixture, **prepared}


def _rows(
    module: nn.Module, task: TrainingTask, accelerator: Accelerator, workers: int
) -> list[tuple[int, float, float]]:
    objective: Preference = task.objective  # type: ignore[assignment]
    own = own_streams(task.recipe.batch, accelerator.process_index, accelerator.num_processes)
    streams = {index: task.stream(index) for index in own}
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
