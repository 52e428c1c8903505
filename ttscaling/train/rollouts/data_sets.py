"""Write rollouts as data sets: VisualPRM400K's judged steps and MMPR's preference pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ttscaling.records.jsonl import write_records
from ttscaling.records.judged_steps import JudgedRecord, JudgedStep, judged_json
from ttscaling.records.meta import DataSet, write_meta
from ttscaling.records.pairs import PairRecord, pair_json
from ttscaling.steps import SEPARATOR, split_steps

from .pairing import Solution, correctness_pairs, dropout_pair, format_pairs
from .rollout import Rollout, RolloutPlan

CRITIC, PAIRS = "critic.json", "pairs.json"


def judged_solution(rollout: Rollout, solution: Solution, max_steps: int | None) -> JudgedRecord:
    """Return a solution with the values of its steps.

    The last step's value is the verdict on the solution, counted like one continuation.
    """
    steps = split_steps(solution.text, max_steps=max_steps)
    judged_steps = []
    for length, text in enumerate(steps, start=1):
        right, total = int(solution.right), 1
        if length < len(steps):
            value = rollout.values[SEPARATOR.join(steps[:length])]
            right, total = value.right, value.total
        judged_steps.append(JudgedStep(text, right / total, right, total))
    question = rollout.question
    return JudgedRecord(
        question=question.text,
        steps=tuple(judged_steps),
        images=question.images,
        video=question.video,
        extra={"answer": question.answer, "response": solution.text},
    )


def write_data(folder: Path, root: Path, rollouts: Sequence[Rollout], plan: RolloutPlan) -> Mapping[str, int]:
    """Write all data sets that aren't empty, and return how many records each has.

    critic.json lists the judged steps and pairs.json the three kinds of pairs, as `internvl3 train` reads
    them.
    """
    good = [rollout for rollout in rollouts if rollout.bad is None]
    records = _judged_records(good, plan) if plan.continuations else ()
    counts = {"judged": write_records(folder / "judged.jsonl", map(judged_json, records))}
    for name, pairs in _pairs(good, plan.seed).items():
        counts[name] = write_records(folder / f"{name}.jsonl", (pair_json(pair) for pair in pairs))
    for meta, names in ((CRITIC, ["judged"]), (PAIRS, ["correctness", "format", "dropout"])):
        data_sets = [
            DataSet(
                name=name,
                root=root.resolve(),
                annotation=folder.resolve() / f"{name}.jsonl",
                length=counts[name],
            )
            for name in names
            if counts[name]
        ]
        if data_sets:
            write_meta(folder / meta, data_sets, base=Path.cwd())
        else:
            (folder / meta).unlink(missing_ok=True)
    return counts


def _judged_records(rollouts: Iterable[Rollout], plan: RolloutPlan) -> Iterator[JudgedRecord]:
    """Yield every solution that isn't blank; equal solutions of a question are yielded once."""
    for rollout in rollouts:
        for solution in {solution.text: solution for solution in rollout.solutions}.values():
            if solution.text.strip():
                yield judged_solution(rollout, solution, plan.max_steps)


def _pairs(rollouts: Sequence[Rollout], seed: int) -> Mapping[str, list[PairRecord]]:
    rng = np.random.default_rng(seed)
    without_image = (
        dropout_pair(rollout.question, chosen, rejected)
        for rollout in rollouts
        for chosen, rejected in rollout.without_image.items()
    )
    return {
        "correctness": [p for r in rollouts for p in correctness_pairs(r.question, r.solutions, rng)],
        "format": [p for r in rollouts for p in format_pairs(r.question, r.solutions, rng)],
        "dropout": [pair for pair in without_image if pair is not None],
    }
