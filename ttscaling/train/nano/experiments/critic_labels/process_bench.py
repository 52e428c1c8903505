"""A VisualProcessBench of nano's: the policy's solutions of held-out questions, every step marked exactly."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from ttscaling.nano_tasks.problems import SheetQuestion, solve
from ttscaling.records.jsonl import write_records
from ttscaling.records.marked_steps import Mark, MarkedRecord, marked_json
from ttscaling.steps import split_steps
from ttscaling.train.nano.stages.ranking import Ranked

FILE = "solutions.jsonl"
IMAGES = "images"


def mark_steps(task: SheetQuestion, steps: Sequence[str]) -> tuple[Mark, ...]:
    """1 for a step that is the written solution's at its place, -1 for any other.

    A sum that is right but of wrong numbers is wrong: all wrong steps are to be found, not only the first.
    """
    right = solve(task).steps
    pairs = list(zip_longest(steps, right))[: len(steps)]
    return tuple(1 if step == expected else -1 for step, expected in pairs)


def write_process_bench(directory: Path, questions: Sequence[Ranked]) -> Path:
    """The last candidate of each question, a sampled one, as a file of the published format with its images.

    Returns the file; image paths are relative to `directory`.
    """
    (directory / IMAGES).mkdir(parents=True, exist_ok=True)

    def rows() -> Iterator[dict[str, object]]:
        for number, question in enumerate(questions):
            name = f"{IMAGES}/{number:04}.png"
            question.image.save(directory / name)
            steps = split_steps(question.texts[-1])
            yield marked_json(
                MarkedRecord(
                    question=question.task.question,
                    steps=steps,
                    marks=mark_steps(question.task, steps),
                    images=(name,),
                    answer=solve(question.task).answer,
                    policy_model="nano",
                    data_source=question.task.kind,
                )
            )

    path = directory / FILE
    write_records(path, rows())
    return path
