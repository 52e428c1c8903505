"""Write nano's questions for `train rollouts`, and exercises whose steps have known values.

All pictures show training drawings. The questions are of the kinds that `internvl3 eval nano` asks. An
exercise is a conversation of a critic in the format of VisualPRM400K-Raw: single readings, single operations,
or a written solution with slips. The value of each step is known (see `stages.exercises`), so an exercise
needs no rollouts.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ttscaling.nano_tasks.digits import DigitPool, digit_pool
from ttscaling.nano_tasks.problems import SHARE_OF_LARGE, problems
from ttscaling.nano_tasks.sheets import SIDE, draw_sheet, random_sheet
from ttscaling.records.jsonl import Json, write_records
from ttscaling.records.judged_steps import JudgedRecord, JudgedStep, judged_json
from ttscaling.records.meta import DataSet, read_meta, write_meta

from .stages.exercises import (
    CHECK_QUESTION,
    NUM_READINGS,
    CriticExercise,
    Statement,
    exercises,
    facts,
    readings,
    solutions,
)

SHARES = {"readings": 0.4, "facts": 0.2, "exercises": 0.05, "solutions": 0.35}
KINDS = (*SHARES, "beginnings")


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


def beginnings(pool: DigitPool, rng: np.random.Generator, *, large: bool) -> CriticExercise:
    """Return readings of the first one, two or three digits of rows and columns; about half are wrong.

    Comparing one digit with the picture is learnt first, and comparing three takes that for granted.
    """
    sheet = random_sheet(rng)
    statements = []
    for _ in range(NUM_READINGS):
        name = ("Row", "Column")[int(rng.random() < 0.35)]
        number, length = int(rng.integers(SIDE)) + 1, int(rng.integers(SIDE)) + 1
        digits = (sheet.row(number) if name == "Row" else sheet.column(number))[:length]
        wrong = 1 - 0.5 ** (1 / length)
        stated = tuple(
            (digit + int(rng.integers(1, 10))) % 10 if rng.random() < wrong else digit for digit in digits
        )
        text = f"{name} {number}: {' '.join(map(str, stated))}"
        statements.append(Statement(text, value=stated == digits, right=None))
    picture = draw_sheet(sheet, pool, rng, large=large)
    return CriticExercise(CHECK_QUESTION, picture, tuple(statements), chained=False)


def write_exercises(
    folder: Path,
    number: int,
    *,
    seed: int,
    beside: Sequence[Path] = (),
    shares: Mapping[str, float] = SHARES,
) -> Path:
    """Write exercises with their pictures, and return the meta.json for `train critic --data`.

    Args:
        folder: where everything is written.
        number: the number of exercises.
        seed: the seed of the exercises and their pictures.
        beside: files whose data sets the meta.json names too. Their paths are relative to the working
            directory.
        shares: the share of each of KINDS.

    Raises:
        ValueError: a share is no share or of no kind, or a file in `beside` can't be used.
        OSError: a file can't be read or written.
    """
    total = sum(shares.values())
    if not set(shares) <= set(KINDS) or min(shares.values(), default=0) < 0 or not 0 < total < math.inf:
        raise ValueError(f"the shares {dict(shares)} can't be used: name some of {', '.join(KINDS)}")
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
            "beginnings": lambda: beginnings(pool, rng, large=large),
        }
        return make[kind]()

    def rows() -> Iterator[Json]:
        for index in range(number):
            exercise = draw(str(rng.choice(list(shares), p=[share / total for share in shares.values()])))
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
