"""Compute the reference model's log-probabilities for a preference run before its first step.

The reference is the model that the run starts from. It sees the same packs as the run. So the references cost
one forward pass over the data, and no second model is kept in memory. The pass saves its references after
each step. If it is cut off, it goes on after the last step, also with another number of processes.
"""

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.train.objectives.preference import Preference
from ttscaling.train.objectives.references import References, append_references

from .disk import writing
from .global_batch import StepPacks, global_batches, own_streams, restore_streams
from .loop import bad_records_of_all_processes, check_bad_records, until_all_end
from .pass_states import PassState, PassStates
from .progress_display import ProgressDisplay
from .task import TrainingTask

OnStep = Callable[[PassState], None]
"""Is called after each step of the pass."""


def compute_references(
    module: nn.Module,
    task: TrainingTask,
    accelerator: Accelerator,
    folder: Path,
    *,
    workers: int = 1,
    on_step: OnStep = lambda state: None,
) -> None:
    """Write the references of all draws of the run, one file for each process, and set the objective's.

    Files of the same run are used again, and a pass that was cut off goes on.

    Args:
        module: the wrapped model before its first step.
        task: the task of a preference run.
        accelerator: the one that wrapped the model.
        folder: where the files are. All processes must see it.
        workers: number of threads that prepare packs.
        on_step: is called after each step, and before the first one with the state that it follows on.

    Raises:
        ValueError: the files are those of another run, or too many records are bad.
        OSError: a file can't be read or written.
    """
    objective: Preference = task.objective  # type: ignore[assignment]
    identity = identity_of(task)
    if not (folder / "complete").exists():
        References(sorted(folder.glob("*.jsonl")), identity)  # Files of another run end this one at once.
        _run_pass(module, task, accelerator, folder, workers=workers, on_step=on_step)
        if accelerator.is_main_process:
            (folder / "complete").touch()
        accelerator.wait_for_everyone()
    objective.references = References(sorted(folder.glob("*.jsonl")), identity)


def showing(display: ProgressDisplay) -> OnStep:
    """Return a function that shows each step, and begins the display with the step that a pass follows on."""
    calls = count()

    def show(state: PassState) -> None:
        if next(calls) == 0:
            display.begin(state.step, state.samples, state.tokens)
        else:
            display.step(state.step, {"samples": state.samples, "tokens": state.tokens})

    return show


def identity_of(task: TrainingTask) -> dict[str, Any]:
    """Return the settings that references depend on, as JSON: those of the draws and their preparation."""
    recipe = task.recipe.as_json()
    prepared = {key: recipe[key] for key in ("image_tiles", "deltas", "precision")}
    return {**task.order.identity(), **prepared}


def _run_pass(
    module: nn.Module,
    task: TrainingTask,
    accelerator: Accelerator,
    folder: Path,
    *,
    workers: int,
    on_step: OnStep,
) -> None:
    rank, num_processes = accelerator.process_index, accelerator.num_processes
    path, identity = folder / f"{rank:05d}-of-{num_processes:05d}.jsonl", identity_of(task)
    folder.mkdir(parents=True, exist_ok=True)
    saved = PassStates(folder, rank, num_processes)
    state = saved.latest()
    if len(state.streams) != task.recipe.num_streams:
        state = PassState()  # Held-out data have as many streams as there are processes.
    accelerator.wait_for_everyone()  # until all have read what one may overwrite
    indices = own_streams(task.recipe.num_streams, rank, num_processes)
    streams = {index: task.stream(index) for index in indices}
    if state.step:
        own_states = {index: state.streams[str(index)] for index in indices}
        restore_streams(streams, own_states, workers=workers)
    on_step(state)
    module.eval()
    batches = global_batches(
        streams,
        task.objective,
        workers=workers,
        packs_per_stream=task.recipe.batch // task.recipe.num_streams,
    )
    with closing(batches), torch.no_grad():
        for packs, totals in until_all_end(batches, accelerator):
            if state.step == task.recipe.steps:
                break
            rows = _rows(module, task, packs)
            state = PassState(
                step=state.step + 1,
                samples=state.samples + totals.samples,
                tokens=state.tokens + totals.tokens,
                streams={str(index): own for index, own in packs.states.items()},
            )
            with writing("the references", folder, "use --resume, which goes on after the last step"):
                append_references(path, rows, identity)
                saved.save(state)
            on_step(state)
            if bad_records_of_all_processes(streams, task, accelerator).too_many:
                break
    check_bad_records(streams, task, accelerator)
    module.train()


def _rows(module: nn.Module, task: TrainingTask, packs: StepPacks) -> list[tuple[int, float, float]]:
    objective: Preference = task.objective  # type: ignore[assignment]
    rows: list[tuple[int, float, float]] = []
    for micro in packs.micros:
        sum_R, _ = module(objective.log_probs, micro)
        chosen_P, rejected_P = sum_R.double()[0::2].tolist(), sum_R.double()[1::2].tolist()
        rows += zip(micro.batch.draws, chosen_P, rejected_P, strict=True)
    return rows
