"""Write nano's solutions as a VisualProcessBench file, with an exact mark for every step."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from ttscaling.nano_tasks.problems import SheetQuestion, solve
from ttscaling.records.jsonl import write_records
from ttscaling.records.marked_steps import Mark, MarkedRecord, marked_json
from ttscaling.steps import split_steps
from ttscaling.train.nano.stages.ranking import AnsweredQuestion

FILE = "solutions.jsonl"
IMAGES = "images"


def mark_steps(question: SheetQuestion, steps: Sequence[str]) -> tuple[Mark, ...]:
    """Return 1 for each step that equals the written solution's step of the same index, else -1.

    A right sum of wrong numbers is marked -1, because the bench asks for all wrong steps and not only for
    the first one.
    """
    right = solve(question).steps
    pairs = list(zip_longest(steps, right))[: len(steps)]
    return tuple(1 if step == expected else -1 for step, expected in pairs)


def write_process_bench(directory: Path, questions: Sequence[AnsweredQuestion]) -> Path:
    """Write the last candidate of each question, a sampled one, into a file, and return the file's path.

    The file has the published format. Its images are in `directory` too, and their paths are relative to it.
    """
    (directory / IMAGES).mkdir(parents=True, exist_ok=True)

    def rows() -> Iterator[dict[str, object]]:
        for number, answered in enumerate(questions):
            name = f"{IMAGES}/{number:04}.png"
            answered.image.save(directory / name)
            steps = split_steps(answered.texts[-1])
            yield marked_json(
                MarkedRecord(
                    question=answered.question.question,
                    steps=steps,
                    marks=mark_steps(answered.question, steps),
                    images=(name,),
                    answer=solve(answered.question).answer,
                    policy_model="nano",
                    data_source=answered.question.kind,
                )
            )

    path = directory / FILE
    write_records(path, rows())
    return path
