"""Write nano's questions for `train rollouts`, and exercises whose steps have known values.

All pictures show training drawings. The questions are of the kinds that `internvl3 eval nano` asks. An
exercise is a conversation of a critic in the format of VisualPRM400K-Raw: single readings, single operations,
or a written solution with slips. The value of each step is known (see `stages.exercises`), so an exercise
needs no rollouts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.problems import SHARE_OF_LARGE, problems
from ttscaling.records.jsonl import Json, write_records
from ttscaling.records.judged_steps import JudgedRecord, JudgedStep, judged_json
from ttscaling.records.meta import DataSet, read_meta, write_meta

from .stages.exercises import CriticExercise, exercises, facts, readings, solutions

SHARES = {"readings": 0.4, "facts": 0.2, "exercises": 0.05, "solutions": 0.35}


def write_questions(folder: Path, number: int, *, seed: int) -> Path:
    """Write questions about training drawings with their pictures, and return the file for `--questions`."""
    (folder / "questions").mkdir(parents=True, exist_ok=True)

    def rows() -> Iterator[Json]:
        for index, problem in enumerate(problems("train", number, seed)):
            name = f"questions/{index:05d}.png"
            problem.image.save(folder / name)
            yield {"image": name, "question": problem.question, "answer": problem.answer}

    write_records(folder / "questions.jsonl", rows())
    return folder / "questions.jsonl"


def write_exercises(folder: Path, number: int, *, seed: int, beside: Sequence[Path] = ()) -> Path:
    """Write exercises with their pictures, and return the meta.json for `train critic --data`.

    The kinds have the shares SHARES. The meta.json names the data sets of the files in `beside` too, whose
    paths are relative to the working directory. Raises ValueError or OSError if one of them can't be read.
    """
    data_sets = [data_set for meta in beside for data_set in read_meta(meta, base=Path())]
    (folder / "exercises").mkdir(parents=True, exist_ok=True)
    pool = digit_pool("train")
    rng = np.random.default_rng([seed, 6])

    def draw(kind: str) -> CriticExercise:
        large = bool(rng.random() < SHARE_OF_LARGE)
        make: dict[str, Callable[[], CriticExercise]] = {
            "readings": lambda: readings(pool, rng, large=large),
            "facts": lambda: facts(rng),
            "exercises": lambda: exercises(rng),
            "solutions": lambda: solutions(pool, rng, large=large),
        }
        return make[kind]()

    def rows() -> Iterator[Json]:
        for index in range(number):
            exercise = draw(str(rng.choice(list(SHARES), p=list(SHARES.values()))))
            steps = tuple(JudgedStep(step.shown, float(step.value)) for step in exercise.statements)
            record = JudgedRecord(question=exercise.question, steps=steps)
            if exercise.image is not None:
                name = f"exercises/{index:06d}.png"
                exercise.image.save(folder / name)
                record = replace(record, images=(name,))
            yield judged_json(record)

    write_records(folder / "exercises.jsonl", rows())
    own = DataSet(
        name=f"exercises-{folder.name}", root=folder, annotation=folder / "exercises.jsonl", length=number
    )
    write_meta(folder / "critic.json", [*data_sets, own], base=Path())
    return folder / "critic.json"
