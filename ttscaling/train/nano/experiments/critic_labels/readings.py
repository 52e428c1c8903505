"""Let each critic of the ablation score the candidates, and the steps of a VisualProcessBench file.

F1 needs a threshold for the scores. It is chosen for each critic on solutions about training drawings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from ttscaling.nano_tasks.digits import Split
from ttscaling.nano_tasks.problems import drawn
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.jsonl import read_records
from ttscaling.records.marked_steps import MarkedRecord, parse_marked
from ttscaling.records.media_paths import media_path, read_image
from ttscaling.reports.step_f1 import best_threshold
from ttscaling.train.nano.network.architecture import load_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.stages.critic import score_steps
from ttscaling.train.nano.stages.labelling import Scheme
from ttscaling.train.nano.stages.monte_carlo import TorchSampler
from ttscaling.train.nano.stages.program import SAMPLING
from ttscaling.train.nano.stages.ranking import (
    NUM_CANDIDATES,
    AnsweredQuestion,
    sample_candidates,
    score_candidates,
)
from ttscaling.train.network.internvl import V2PEInternVL

from .process_bench import write_process_bench

CALIBRATION = 200  # solutions about training drawings, on which thresholds are chosen


@dataclass(frozen=True)
class Contender:
    """A trained critic: its checkpoint, and how its training data were labelled."""

    checkpoint: Path
    scheme: Scheme


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The scores of one critic.

    `candidates` holds the step scores of every candidate of every question. `solutions` holds the scores and
    the marks of the steps of every solution of the bench. A score above `threshold` calls a step right.
    """

    contender: Contender
    candidates: Sequence[Sequence[tuple[float, ...]]]
    solutions: Sequence[tuple[tuple[float, ...], tuple[int, ...]]]
    threshold: float


def candidates_of(
    directory: Path, encoder: NanoEncoder, split: Split, n: int, seed: int
) -> list[AnsweredQuestion]:
    """Return n questions about a split's drawings with the policy's candidates, the greedy one first."""
    model = load_checkpoint(directory / "policy")
    questions = list(drawn(split, n, seed))
    greedy, sampled = (
        sample_candidates(
            TorchSampler(model, encoder, temperature=temperature, seed=seed), questions, n=number
        )
        for temperature, number in ((0.0, 1), (SAMPLING["temperature"], NUM_CANDIDATES - 1))
    )
    return [
        AnsweredQuestion(one.question, one.image, one.texts + others.texts)
        for one, others in zip(greedy, sampled, strict=True)
    ]


def read_all(
    contenders: Mapping[str, Contender],
    directory: Path,
    encoder: NanoEncoder,
    questions: Sequence[AnsweredQuestion],
    *,
    seed: int,
) -> dict[str, Reading]:
    """Return the scores that each contender gives to the candidates and to the bench.

    The bench is made of the candidates and written into `directory`/process-bench.
    """
    calibration = candidates_of(directory, encoder, "train", min(CALIBRATION, len(questions)), seed)
    heldout, tuning = (
        write_process_bench(directory / "process-bench" / split, of_split)
        for split, of_split in (("heldout", questions), ("train", calibration))
    )
    readings = {}
    for name, contender in contenders.items():
        model, scheme = load_checkpoint(contender.checkpoint), contender.scheme
        tuning_scores = score_marked(model, encoder, tuning, scheme)
        readings[name] = Reading(
            contender=contender,
            candidates=[
                score_candidates(
                    model, encoder, answered.question.question, answered.image, answered.texts, scheme=scheme
                )
                for answered in track(questions, f"{name} scores candidates")
            ],
            solutions=score_marked(model, encoder, heldout, scheme),
            threshold=best_threshold(
                [score for scores, _ in tuning_scores for score in scores],
                [mark for _, marks in tuning_scores for mark in marks],
            ),
        )
    return readings


def score_marked(
    model: V2PEInternVL, encoder: NanoEncoder, bench: Path, scheme: Scheme
) -> list[tuple[tuple[float, ...], tuple[int, ...]]]:
    """Return scores and marks of the steps of every solution of a VisualProcessBench file.

    The images are read from the file's folder. A critic by outcome gives a solution one score, so the score
    of a step is the score of the solution up to that step.
    """

    def scores(record: MarkedRecord) -> tuple[float, ...]:
        image = read_image(media_path(bench.parent, record.images[0]))
        ends = range(1, len(record.steps) + 1) if scheme.labelling == "outcome" else (len(record.steps),)
        conversations = [scheme.conversation(record.question, image, record.steps[:end]) for end in ends]
        return sum(score_steps(model, encoder, conversations, scheme=scheme), ())

    records = list(read_records(bench, parse_marked, BadRecords(allowed=0)))
    return [(scores(record), record.marks) for record in records]
