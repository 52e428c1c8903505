"""Check optimiser steps on a GPU: memory against the estimate, speed, and a state that is loaded again."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator

from bench.harness.gpu import bf16_peak, gpu_figures, wait_for_gpu
from ttscaling.train.network.memory import memory
from ttscaling.train.objectives.objective import MicroBatch
from ttscaling.train.run.global_batch import StepPacks
from ttscaling.train.run.sharding import make_accelerator, prepared
from ttscaling.train.run.states import Checkpoints, Snapshot
from ttscaling.train.run.step import BatchTotals, step
from ttscaling.train.run.task import TrainingTask

from .models import Size, config_of, random_micro, random_model, recipe_of, task_of
from .precision import Figures
from .sharding import accelerator_of_one_process

_STEPS = 3
_PACKS = 2


def speed_and_memory(device: str, size: Size, tokens: int, tiles: int) -> Figures:
    """Measure steps of two packs on one device: tokens per second, share of the bf16 peak, peak memory.

    The first step makes the moments and isn't timed. The memory passes if it is within 15 % of the estimate
    of `internvl3 train memory`. Recomputed operations count, and those of the attention kernel may not.
    """
    accelerator = make_accelerator("bf16")
    config = config_of(size)
    recipe = recipe_of(tokens=tokens, tiles=tiles)
    task = task_of(config, recipe)
    module, optimizer = prepared(random_model(config), task, accelerator)
    micros = [random_micro(config, tokens=tokens, tiles=tiles, seed=seed) for seed in range(_PACKS)]

    def take_step() -> dict[str, float]:
        return _step(module, optimizer, task, accelerator, micros)

    first = take_step()
    wait_for_gpu()
    begin = time.perf_counter()
    for _ in range(_STEPS):
        last = take_step()
    wait_for_gpu()
    seconds = (time.perf_counter() - begin) / _STEPS
    expected = memory(config, recipe, devices=1).peak
    figures: Figures = {
        "passed": last["loss"] < first["loss"],
        "loss_first": first["loss"],
        "loss_last": last["loss"],
        "tokens_per_s": _PACKS * tokens / seconds,
        "seconds_per_step": seconds,
        "estimated_gb": expected / 1e9,
    }
    of_gpu = gpu_figures(take_step)
    if of_gpu:
        measured, peak = of_gpu["gpu_mib"] * 2**20, bf16_peak(of_gpu["gpu"])
        figures |= {"gpu": of_gpu["gpu"], "measured_gb": measured / 1e9}
        figures["share_of_bf16_peak"] = of_gpu["flops"] / seconds / peak if peak else None
        figures["passed"] = figures["passed"] and 0.85 < measured / expected < 1.15
    return figures


def resume(device: str, size: Size, tokens: int, tiles: int) -> Figures:
    """Save the state of a sharded run after two steps, and take the third step twice, from memory and disk.

    A GPU adds up gradients in any order, so the two third steps may differ by rounding there.
    """
    accelerator = accelerator_of_one_process(device)
    config = config_of("tiny")
    task = task_of(config, recipe_of(tokens=2048, tiles=8))
    module, optimizer = prepared(random_model(config), task, accelerator)
    micros = [random_micro(config, tokens=2048, tiles=8, seed=seed) for seed in range(_PACKS)]

    def take_step() -> dict[str, float]:
        return _step(module, optimizer, task, accelerator, micros)

    with TemporaryDirectory() as folder:
        states = Checkpoints(Path(folder), every=1, keep=1)
        take_step()
        take_step()
        states.save(Snapshot({"step": 2}, {}, {}), accelerator)
        straight = take_step()
        weights = _weights(module)
        take_step()
        moved = _difference(_weights(module), weights)
        latest = states.latest()
        assert latest is not None
        states.load(latest, accelerator, ())
        resumed = take_step()
        difference = _difference(_weights(module), weights)
    allowed = 0.0 if device == "cpu" else 1e-3 * moved
    return {
        "passed": difference <= allowed < moved and abs(resumed["loss"] - straight["loss"]) <= 1e-4,
        "loss_straight": straight["loss"],
        "loss_resumed": resumed["loss"],
        "largest_difference": difference,
        "moved_in_a_step": moved,
    }


def _step(
    module: torch.nn.Module,
    optimizer: Any,
    task: TrainingTask,
    accelerator: Accelerator,
    micros: list[MicroBatch],
) -> dict[str, float]:
    weight = torch.tensor(sum(micro.weight for micro in micros), dtype=torch.float64)
    totals = BatchTotals(weight.to(accelerator.device), samples=3 * len(micros), tokens=0)
    packs = StepPacks(tuple(micros), states={})
    return step(module, optimizer, task.objective, packs, totals, accelerator, rate=1e-4, clip=1.0)


def _weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [getattr(p, "_local_tensor", p).detach().clone() for p in module.parameters()]


def _difference(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
