"""A training run from the first step to the last, on one process or many."""

import math
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.records.bad_records import BadRecords, merge_counts
from ttscaling.train.objectives.losses import scaled_loss
from ttscaling.train.objectives.objective import Objective
from ttscaling.train.packs.pack_stream import PackStream

from .global_batch import StepPacks, global_batches, own_streams
from .logs import Logs
from .optimizer import learning_rate_factor
from .states import Checkpoints, Snapshot
from .task import TrainingTask


@dataclass(frozen=True)
class BatchTotals:
    """What a global batch holds, over all processes."""

    weight: torch.Tensor  # float64
    samples: int
    tokens: int


@dataclass(frozen=True)
class Progress:
    """How far a run has come: steps, and samples and tokens of all processes."""

    step: int = 0
    samples: int = 0
    tokens: int = 0

    def after(self, sums: BatchTotals) -> "Progress":
        """One more step."""
        return Progress(self.step + 1, self.samples + sums.samples, self.tokens + sums.tokens)


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
) -> None:
    """Train, saving on the way and at the end.

    Args:
        module: as `prepared` gives it, with the weights to start from.
        optimizer: likewise.
        task: data, objective, recipe.
        accelerator: that wrapped them.
        checkpoints: where states are saved and how often.
        logs: hears of every step.
        resume: go on from the latest saved state, if there is one.
        workers: threads that prepare packs; the result doesn't depend on them.

    Raises:
        ValueError: the settings don't fit together, the data is too bad, or the loss isn't finite.
    """
    own = own_streams(task.recipe.batch, accelerator.process_index, accelerator.num_processes)
    streams = {index: task.stream(index) for index in own}
    progress = Progress()
    latest = checkpoints.latest() if resume else None
    if latest is not None:
        snapshot = checkpoints.load(latest, accelerator, own)
        progress = Progress(**snapshot.progress)
        task.objective.restore(snapshot.objective)
        for index, stream in streams.items():
            stream.restore(snapshot.streams[index])
    logs.begin(progress.step)
    unsaved: Snapshot | None = None
    with closing(global_batches(streams, task.objective, workers=workers)) as batches:
        for packs, sums in until_all_end(batches, accelerator):
            if progress.step == task.recipe.steps:
                break
            before, progress = progress, progress.after(sums)
            rate = learning_rate(task, before, progress)
            figures = step(
                module, optimizer, task.objective, packs, sums, accelerator, rate=rate, clip=task.recipe.clip
            )
            if not math.isfinite(figures["loss"]):
                raise ValueError(
                    f"the loss of step {progress.step} is {figures['loss']}: lower the learning rate or the "
                    "clip, and resume from an earlier state"
                )
            logs.step(progress.step, {**figures, "samples": progress.samples, "tokens": progress.tokens})
            unsaved = Snapshot(asdict(progress), task.objective.state(), packs.states)
            if checkpoints.due(progress.step):
                checkpoints.save(unsaved, accelerator)
                unsaved = None
            if bad_records_of_all_processes(streams, task, accelerator).too_many:
                break
    if unsaved is not None:
        checkpoints.save(unsaved, accelerator)  # also where bad records end the run: it can go on
    check_bad_records(streams, task, accelerator)
    if progress.step == 0:
        raise ValueError("the data hold no record that can be used: `internvl3 train check` says why")


def step(
    module: nn.Module,
    optimizer: Any,
    objective: Objective,
    packs: StepPacks,
    sums: BatchTotals,
    accelerator: Accelerator,
    *,
    rate: float,
    clip: float,
) -> dict[str, float]:
    """One optimiser step on a global batch; returns its figures, means over the batch."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    total: dict[str, torch.Tensor] = {}
    for number, micro in enumerate(packs.micros, start=1):
        last = number == len(packs.micros)
        with nullcontext() if last else accelerator.no_sync(module):
            loss, figures = module(objective.loss, micro)
            accelerator.backward(scaled_loss(loss, sums.weight, num_processes=accelerator.num_processes))
        for name, figure in figures.items():
            total[name] = total.get(name, 0) + figure.double()
    norm = accelerator.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    objective.after_step(lambda own: accelerator.reduce(own, reduction="sum"))
    summed = accelerator.reduce(torch.stack(list(total.values())), reduction="sum") / sums.weight
    return {**dict(zip(total, summed.tolist(), strict=True)), "gradient": float(norm), "rate": rate}


def until_all_end(
    batches: Iterator[StepPacks], accelerator: Accelerator
) -> Iterator[tuple[StepPacks, BatchTotals]]:
    """Global batches and what they hold, until no process has a sample left. The same number for each."""
    for packs in batches:
        counts = [(micro.weight, micro.num_samples, micro.num_tokens) for micro in packs.micros]
        own = torch.tensor(counts, dtype=torch.float64, device=accelerator.device).sum(dim=0)
        weight, samples, tokens = accelerator.reduce(own, reduction="sum")
        if samples == 0:
            return
        # A batch in which nothing is supervised has a loss of 0, not NaN.
        yield packs, BatchTotals(weight.clamp(min=1e-12), int(samples), int(tokens))


def bad_records_of_all_processes(
    streams: Mapping[int, PackStream], task: TrainingTask, accelerator: Accelerator
) -> BadRecords:
    """Good and bad records of all processes' streams, the first bad ones of this process named."""
    faults = merge_counts((stream.faults for stream in streams.values()), task.recipe.bad_records)
    own = torch.tensor([faults.good, faults.bad], device=accelerator.device)
    faults.good, faults.bad = accelerator.reduce(own, reduction="sum").tolist()
    return faults


def check_bad_records(
    streams: Mapping[int, PackStream], task: TrainingTask, accelerator: Accelerator
) -> None:
    """Behind a run's last pack, on all processes at once. Raises TooManyBadRecordsError."""
    faults = bad_records_of_all_processes(streams, task, accelerator)
    if task.draws is not None or faults.too_many:  # where steps decide, the grace counts to the end
        faults.check_share()


def learning_rate(task: TrainingTask, before: Progress, after: Progress) -> float:
    """Of the step between the two."""
    recipe = task.recipe
    factor = learning_rate_factor(_share_done(before, task), _share_done(after, task), recipe.warmup)
    return recipe.learning_rate * factor


def _share_done(progress: Progress, task: TrainingTask) -> float:
    """By steps, or by samples where the data decide when a run ends."""
    if task.recipe.steps is not None:
        return progress.step / task.recipe.steps
    return min(1.0, progress.samples / (task.draws or 1))
