"""Our optimiser steps on prepared samples, as `internvl3 bench training` measures them.

All systems start from the same weights and get the same records in the same order, `batch` of them a step.
Forward and backward passes, the reference's log-probabilities and AdamW are measured. Images and texts are
read before that.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from bench.harness.gpu import gpu_figures, wait_for_gpu
from ttscaling.records.meta import read_meta
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.objectives.references import References, append_references
from ttscaling.train.packs.mixture import Draw
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import PackedBatch
from ttscaling.train.packs.packing import Packer
from ttscaling.train.run.global_batch import StepPacks
from ttscaling.train.run.sharding import make_accelerator, prepared
from ttscaling.train.run.step import BatchTotals, step
from ttscaling.train.run.task import make_task
from ttscaling.train.settings.kinds import CriticData
from ttscaling.train.settings.recipe import Recipe

from .material import start_model

RATE, CLIP = 1e-5, 1.0


class Ours:
    """The steps of a run, after the reference's pass over all data where the run is of preferences."""

    @property
    def objective(self) -> Any:
        """The training objective, which exists once a case is prepared."""
        return self._task.objective

    def prepare(self, case: Mapping[str, Any]) -> list[StepPacks]:
        folder, kind, gpu = Path(case["folder"]), case["kind"], torch.cuda.is_available()
        self._recipe = Recipe(
            steps=case["steps"],
            batch=1,
            learning_rate=RATE,
            clip=CLIP,
            deltas=(1.0,),  # The peers have no other delta.
            max_tokens=case["pack_tokens"],
            precision="bf16" if gpu else "fp32",
            recompute=gpu,
        )
        data_sets = read_meta(folder / f"{kind}.json", base=folder)
        # Earlier turns show the labels themselves, as they do in SFTTrainer's conversations.
        critic = CriticData(history="labels")
        self._task = make_task(kind, folder / "checkpoint", data_sets, self._recipe, critic=critic)
        self._accelerator = make_accelerator(self._recipe.precision)
        self._module, self._optimizer = prepared(start_model(folder), self._task, self._accelerator)
        return [self._packs(number, case["batch"]) for number in range(case["steps"])]

    def work(self, steps: list[StepPacks]) -> list[StepPacks]:
        self._references(steps)
        for packs in steps:
            self._step(packs)
        wait_for_gpu()
        return steps

    def summary(self, steps: list[StepPacks]) -> dict[str, Any]:
        """Return how many positions are supervised in all, and a GPU's figures."""
        rows = [_tokens(micro.batch) for packs in steps for micro in packs.micros]
        supervised = sum(int((row.weight_1T > 0).sum()) for row in rows)
        return {"supervised": supervised, **gpu_figures(lambda: self.work(steps))}

    def _packs(self, number: int, batch: int) -> StepPacks:
        """Return the records of a step, packed as a run's stream packs them."""
        packer: Packer[DrawnSample[Any]] = Packer(self._recipe.limits)
        packs = []
        for record in range(number * batch, (number + 1) * batch):
            draw = Draw(number=record, source=0, record=record)
            packs.append(packer.add(DrawnSample(draw, self._task.corpus.sample(draw, self._recipe.limits))))
        while packs[-1:] != [None] or packer.open_packs():
            packs.append(packer.close())
        return StepPacks(tuple(self._task.objective.micro(pack) for pack in packs if pack), states={})

    def _references(self, steps: list[StepPacks]) -> None:
        objective = self._task.objective
        if not isinstance(objective, Preference):
            return
        rows: list[tuple[int, float, float]] = []
        self._module.eval()
        with torch.no_grad():
            for packs in steps:
                for micro in packs.micros:
                    sum_R, _ = self._module(objective.log_probs, micro)
                    chosen_P, rejected_P = sum_R.double().view(-1, 2).T.tolist()
                    rows += zip(micro.batch.draws, chosen_P, rejected_P, strict=True)
        self._module.train()
        with TemporaryDirectory() as folder:
            path = Path(folder) / "references.jsonl"
            append_references(path, rows, {})
            objective.references = References([path], {})

    def _step(self, packs: StepPacks) -> None:
        weight = torch.tensor(sum(micro.weight for micro in packs.micros), dtype=torch.float64)
        sums = BatchTotals(weight, samples=sum(micro.num_samples for micro in packs.micros), tokens=0)
        objective, accelerator = self._task.objective, self._accelerator
        step(self._module, self._optimizer, objective, packs, sums, accelerator, rate=RATE, clip=CLIP)


class OursReferencesGiven(Ours):
    """The steps alone, as in a run whose references were computed before."""

    def prepare(self, case: Mapping[str, Any]) -> list[StepPacks]:
        steps = super().prepare(case)
        super()._references(steps)
        return steps

    def _references(self, steps: list[StepPacks]) -> None:
        """Do nothing, because `prepare` has computed the references."""


def _tokens(batch: Any) -> PackedBatch:
    """Return the tokens of a micro-batch of any kind: of texts, of pairs, or of a critic's conversations."""
    packed = getattr(batch, "packed", batch)
    tokens: PackedBatch = getattr(packed, "batch", packed)
    return tokens
