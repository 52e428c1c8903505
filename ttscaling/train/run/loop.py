"""Train from the first step of a run to the last, on one process or on several."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.records.bad_records import BadRecords, merge_counts
from ttscaling.train.packs.pack_stream import PackStream

from .global_batch import StepPacks, global_batches, own_streams, restore_streams
from .logs import Logs
from .optimizer import learning_rate_factor
from .states import Checkpoints, Snapshot
from .step import BatchTotals, NotFiniteError, step
from .task import TrainingTask

logger = logging.getLogger("internvl3.train.run")


@dataclass(frozen=True)
class Progress:
    """The steps of a run so far, and the samples and tokens of all processes so far."""

    step: int = 0
    samples: int = 0
    tokens: int = 0

    def after(self, totals: BatchTotals) -> "Progress":
        """Return the progress after one more step, on a global batch with these totals."""
        return Progress(self.step + 1, self.samples + totals.samples, self.tokens + totals.tokens)


def train(
    module: nn.Module,
    optimizer: Any,
    task: TrainingTask,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    logs: Logs,
    *,
    resume: bool = False,
    workers: int = 1,
    evaluate: Callable[[int, bool], None] = lambda step, last: None,
) -> None:
    """Train, and save states at regular steps and at the end.

    Args:
        module: the module that `prepared` returns, with the weights to start from.
        optimizer: the optimiser that `prepared` returns.
        task: the data, the objective and the recipe.
        accelerator: the one that wrapped the module and the optimiser.
        checkpoints: where states are saved and how often.
        logs: receives the figures of every step.
        resume: continue from the latest saved state, if there is one.
        workers: number of threads that prepare packs. The result doesn't depend on it.
        evaluate: is called with the number of steps so far, before the first step and after each step before
            its state is saved, and at the end once more with True.

    Raises:
        ValueError: the settings don't fit together, too many records are bad, or no record can be used.
        NotFiniteError: the loss or the gradient of a step isn't finite. The weights stay those of the step
            before, and their state is saved.
    """
    indices = own_streams(task.recipe.num_streams, accelerator.process_index, accelerator.num_processes)
    streams = {index: task.stream(index) for index in indices}
    progress = Progress()
    latest = checkpoints.latest() if resume else None
    if latest is not None:
        snapshot = checkpoints.load(latest, accelerator, indices)
        progress = Progress(**snapshot.progress)
        task.objective.restore(snapshot.objective)
        restore_streams(streams, snapshot.streams, workers=workers)
    logs.begin(progress.step, samples=progress.samples, tokens=progress.tokens)
    if progress.step == 0:
        evaluate(0, False)
    unsaved: Snapshot | None = None
    packs_per_stream = task.recipe.batch // task.recipe.num_streams
    with closing(
        global_batches(streams, task.objective, workers=workers, packs_per_stream=packs_per_stream)
    ) as batches:
        for packs, totals in until_all_end(batches, accelerator):
            if progress.step == task.recipe.steps:
                break
            before, progress = progress, progress.after(totals)
            rate = learning_rate(task, before, progress)
            try:
                figures = step(
                    module,
                    optimizer,
                    task.objective,
                    packs,
                    totals,
                    accelerator,
                    rate=rate,
                    clip=task.recipe.clip,
                )
            except NotFiniteError as error:
                if unsaved is not None:
                    checkpoints.save(unsaved, accelerator)
                raise NotFiniteError(
                    f"step {progress.step} was not taken, because {error}. Go on from step {before.step} "
                    "with --resume and a lower --learning-rate or --clip"
                ) from error
            logs.step(progress.step, {**figures, "samples": progress.samples, "tokens": progress.tokens})
            evaluate(progress.step, False)
            unsaved = Snapshot(asdict(progress), task.objective.state(), packs.states)
            if checkpoints.due(progress.step):
                checkpoints.save(unsaved, accelerator)
                unsaved = None
            if bad_records_of_all_processes(streams, task, accelerator).too_many:
                break
    if unsaved is not None:
        checkpoints.save(unsaved, accelerator)  # also if bad records ended the run, so that it can be resumed
    check_bad_records(streams, task, accelerator)
    if progress.step:
        evaluate(progress.step, True)
    else:
        raise ValueError(
            "the data have no record that can be used: `internvl3 train check` names what to mend, and "
            "--max-tokens and --max-tiles decide what fits into a pack"
        )


def until_all_end(
    batches: Iterator[StepPacks], accelerator: Accelerator
) -> Iterator[tuple[StepPacks, BatchTotals]]:
    """Yield global batches with their totals until no process has a sample left.

    Every process gets the same number of batches.
    """
    for packs in batches:
        counts = [(micro.weight, micro.num_samples, micro.num_tokens) for micro in packs.micros]
        own = torch.tensor(counts, dtype=torch.float64, device=accelerator.device).sum(dim=0)
        weight, samples, tokens = accelerator.reduce(own, reduction="sum")
        if samples == 0:
            return
        # The smallest weight keeps the loss of a batch without supervised tokens at 0 instead of NaN.
        yield packs, BatchTotals(weight.clamp(min=1e-12), int(samples), int(tokens))


def bad_records_of_all_processes(
    streams: Mapping[int, PackStream], task: TrainingTask, accelerator: Accelerator
) -> BadRecords:
    """Return the counts of the records of all processes, with examples from this process."""
    bad_records = merge_counts((stream.bad_records for stream in streams.values()), task.recipe.bad_records)
    own = [bad_records.good, bad_records.bad, bad_records.too_long]
    counts = accelerator.reduce(torch.tensor(own, device=accelerator.device), reduction="sum").tolist()
    bad_records.good, bad_records.bad, bad_records.too_long = counts
    return bad_records


def check_bad_records(
    streams: Mapping[int, PackStream], task: TrainingTask, accelerator: Accelerator
) -> None:
    """Check the share of bad records after the last pack of a run, on all processes at once.

    The main process says how many records were too long. Raises TooManyBadRecordsError if the share of bad
    ones is above `recipe.bad_records`.
    """
    bad_records = bad_records_of_all_processes(streams, task, accelerator)
    if bad_records.too_long and accelerator.is_main_process:
        logger.warning(
            "%d of %d records were too long for a pack and were left out: --max-tokens, --max-tiles and "
            "--image-tiles decide what fits",
            bad_records.too_long,
            bad_records.good + bad_records.bad + bad_records.too_long,
        )
    # If a number of steps ends the run, the grace of BadRecords holds to the end.
    if task.draws is not None or bad_records.too_many:
        bad_records.check_share()


def learning_rate(task: TrainingTask, before: Progress, after: Progress) -> float:
    """Return the learning rate of the step that leads from `before` to `after`."""
    recipe = task.recipe
    factor = learning_rate_factor(_share_done(before, task), _share_done(after, task), recipe.warmup)
    return recipe.learning_rate * factor


def _share_done(progress: Progress, task: TrainingTask) -> float:
    """Return the share of the run that is done, by steps, or by samples if the data decide when it ends."""
    if task.recipe.steps is not None:
        return progress.step / task.recipe.steps
    return min(1.0, progress.samples / (task.draws or 1))
