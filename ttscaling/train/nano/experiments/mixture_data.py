"""Write the data and the start checkpoint of nano's mixture search.

The data are nano's tasks as files of InternVL's published format. The start checkpoint has a vision path that
recognises digits, and random language weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.image_tokens import IMAGE_TEXT
from ttscaling.nano_tasks.arithmetic import Exercise, random_fact
from ttscaling.nano_tasks.digits import DigitPool, Split, digit_pool
from ttscaling.nano_tasks.problems import random_task, solve
from ttscaling.nano_tasks.sheets import draw_sheet
from ttscaling.records.chats import ChatRecord, Turn, chat_json
from ttscaling.records.jsonl import write_records
from ttscaling.records.meta import DataSet, write_meta
from ttscaling.train.mixture_search.search import Modality
from ttscaling.train.nano.network.architecture import (
    CONTEXT,
    POLICY_LAYERS,
    nano_config,
    new_model,
    save_checkpoint,
)
from ttscaling.train.nano.network.tokenizer import build_tokenizer
from ttscaling.train.nano.stages.policy import READ_QUESTION, SHORT_KINDS, read_sheet
from ttscaling.train.nano.stages.program import SAMPLING
from ttscaling.train.nano.stages.training_loop import make_accelerator
from ttscaling.train.nano.stages.vision import train_vision
from ttscaling.train.settings.recipe import Recipe

SPLITS: tuple[Split, ...] = ("train", "heldout")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The size of the search.

    `vision` is the number of updates of the vision warm-up, and `steps` that of each trial. Each data set has
    `records` records for training and `heldout` records to measure on.
    """

    vision: int
    records: int
    heldout: int
    steps: int

    def recipe(self, seed: int) -> Recipe:
        """Return the recipe of a trial, with about forty samples a step."""
        return Recipe(
            steps=self.steps,
            batch=4,
            learning_rate=2e-3,
            warmup=0.1,
            max_tokens=700,
            max_tiles=10,
            open_packs=4,
            precision="fp32",
            recompute=False,
            seed=seed,
        )

    @property
    def about(self) -> str:
        """Return the sentences about model and data for the page of results."""
        return (
            f"The model is nano with a vision path after {self.vision} updates of its warm-up, and with "
            "random language weights. The language data are single operations and sums of digits. The "
            "multimodal data are readings of small sheets, and short questions about small sheets. Each data "
            f"set has {self.records:,} records for training. It has {self.heldout:,} others to measure on, "
            "with held-out drawings."
        )


BUDGET = Budget(vision=200, records=3000, heldout=200, steps=100)
MINIATURE = Budget(vision=2, records=30, heldout=6, steps=2)


@dataclass(frozen=True)
class Material:
    """The paths of the start checkpoint, and of the meta.json for training and for measuring."""

    model: Path
    data: Path
    heldout: Path


def write_material(directory: Path, budget: Budget, *, seed: int) -> Material:
    """Write the start checkpoint and the data, except those that are already there, and return the paths."""
    material = Material(directory / "start", directory / "train.json", directory / "heldout.json")
    if not (material.model / "config.json").exists():
        write_start(material.model, steps=budget.vision, seed=seed)
    for split, meta in zip(SPLITS, (material.data, material.heldout), strict=True):
        if not meta.exists():
            number = budget.records if split == "train" else budget.heldout
            write_data(directory / split, meta, split, number, seed=seed)
    return material


def write_start(directory: Path, *, steps: int, seed: int) -> None:
    """Write a checkpoint with random weights and a trained vision path.

    A tower with random weights would learn nothing from the language loss of a trial.
    """
    tokenizer = build_tokenizer(CONTEXT)
    model = new_model(nano_config(tokenizer, num_layers=POLICY_LAYERS), seed=seed)
    train_vision(model, make_accelerator(), steps=steps, seed=seed)
    save_checkpoint(model, tokenizer, directory, sampling=SAMPLING)


def write_data(root: Path, meta: Path, split: Split, number: int, *, seed: int) -> None:
    """Write two data sets of language and two of multimodal records, and their meta.json."""
    pool = digit_pool(split)
    makers: dict[str, tuple[Modality, Callable[[np.random.Generator, Path], ChatRecord]]] = {
        "operations": ("language", lambda rng, _: _exercise(_operation(rng))),
        "digit-sums": ("language", lambda rng, _: _exercise(_digit_sum(rng))),
        "readings": ("multimodal", lambda rng, path: _about_sheet(rng, path, pool, reading=True)),
        "questions": ("multimodal", lambda rng, path: _about_sheet(rng, path, pool, reading=False)),
    }
    data_sets = []
    for set_number, (name, (modality, make)) in enumerate(makers.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, split == "heldout", set_number])
        rows = (chat_json(make(rng, folder / f"{index}.png")) for index in range(number))
        write_records(folder / "records.jsonl", rows)
        data_sets.append(
            DataSet(name=name, root=folder, annotation=folder / "records.jsonl", extra={"modality": modality})
        )
    write_meta(meta, data_sets, base=Path())


def _operation(rng: np.random.Generator) -> Exercise:
    expression, result = random_fact(rng)
    return Exercise(expression=expression, result=result)


def _digit_sum(rng: np.random.Generator) -> Exercise:
    return Exercise(digits=tuple(rng.integers(0, 10, rng.integers(3, 7)).tolist()))


def _exercise(exercise: Exercise) -> ChatRecord:
    return _record(exercise.question, exercise.solve().text)


def _about_sheet(rng: np.random.Generator, path: Path, pool: DigitPool, *, reading: bool) -> ChatRecord:
    """Draw a small sheet into `path`, and return a record that reads it or answers a question about it."""
    question = random_task(rng, kind=SHORT_KINDS[int(rng.integers(len(SHORT_KINDS)))])
    draw_sheet(question.sheet, pool, rng, large=False).save(path)
    text, answer = (
        (READ_QUESTION, read_sheet(question)) if reading else (question.question, solve(question).text)
    )
    return _record(f"{IMAGE_TEXT}\n{text}", answer, images=(path.name,))


def _record(question: str, answer: str, *, images: tuple[str, ...] = ()) -> ChatRecord:
    return ChatRecord(turns=(Turn("user", question), Turn("assistant", answer)), images=images)
