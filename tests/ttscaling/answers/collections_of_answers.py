"""The written answers of the tests: which are equal, and which a solution states.

`equal_answers.jsonl` has a question's answers in each line, as classes of equal ones. `stated_answers.jsonl`
has a solution and its final answer in each line (null if it states none). Both are written for this project,
in the answer forms of the benchmarks that they name. `adversarial_answers.jsonl` and
`adversarial_solutions.jsonl` have the same form. Their author didn't look at the first two, and wanted to
find faults: classes that look alike, and solutions that talk about answers. `reviewed_pairs.tsv` has pairs
that an earlier version judged wrongly. "Equal" means that a person who knows the question takes both for one
answer.
"""

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).parent


class Pair(NamedTuple):
    """Two answers to one question, and whether they are equal."""

    left: str
    right: str
    equal: bool


def question_pairs(name: str = "equal_answers.jsonl") -> list[Pair]:
    """Return all pairs of the answers to each question."""
    pairs = []
    for line in _lines(name):
        numbered = [(answer, index) for index, group in enumerate(line["classes"]) for answer in group]
        for (left, one), (right, other) in combinations(numbered, 2):
            pairs.append(Pair(left, right, one == other))
    return pairs


def reviewed_pairs() -> list[Pair]:
    """Return the pairs of the review."""
    with (_FOLDER / "reviewed_pairs.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Pair(row["left"], row["right"], row["label"] == "equal") for row in rows]


def stated_answers(name: str = "stated_answers.jsonl") -> list[tuple[str, str | None]]:
    """Return solutions and the final answers that they state."""
    return [(line["text"], line["answer"]) for line in _lines(name)]


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines()]
