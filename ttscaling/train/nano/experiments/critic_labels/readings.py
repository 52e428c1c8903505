"""What critics say of every candidate of held-out questions, and of every step of a VisualProcessBench.

The threshold that its F1 needs is chosen for each critic on solutions of training drawings.
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
from ttscaling.train.nano.stages.ranking import NUM_CANDIDATES, Ranked, sample_candidates, score_candidates
from ttscaling.train.network.internvl import V2PEInternVL

from .process_bench import write_process_bench

CALIBRATION = 200  # solutions of training drawings on which thresholds are chosen


@dataclass(frozen=True)
class Contender:
    """A trained critic: where it is, and how it was labelled."""

    checkpoint: Path
    scheme: Scheme


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one critic says: step scores of every candidate of every question, and scores and marks of the
    steps of every solution of the bench."""

    contender: Contender
    candidates: Sequence[Sequence[tuple[float, ...]]]
    solutions: Sequence[tuple[tuple[float, ...], tuple[int, ...]]]
    threshold: float


def candidates_of(directory: Path, encoder: NanoEncoder, split: Split, n: int, seed: int) -> list[Ranked]:
    """The policy's candidates for n questions on a split's drawings: the greedy answer, then sampled ones."""
    model = load_checkpoint(directory / "policy")
    asked = list(drawn(split, n, seed))
    greedy, sampled = (
        sample_candidates(TorchSampler(model, encoder, temperature=temperature, seed=seed), asked, n=number)
        for temperature, number in ((0.0, 1), (SAMPLING["temperature"], NUM_CANDIDATES - 1))
    )
    return [
        Ranked(first.task, first.image, first.texts + rest.texts)
        for first, rest in zip(greedy, sampled, strict=True)
    ]


def read_all(
    contenders: Mapping[str, Contender],
    directory: Path,
    encoder: NanoEncoder,
    questions: Sequence[Ranked],
    *,
    seed: int,
) -> dict[str, Reading]:
    """Each contender's reading of the candidates, and of the bench made of them: process-bench/."""
    calibration = candidates_of(directory, encoder, "train", min(CALIBRATION, len(questions)), seed)
    heldout, tuning = (
        write_process_bench(directory / "process-bench" / split, asked)
        for split, asked in (("heldout", questions), ("train", calibration))
    )
    readings = {}
    for name, contender in contenders.items():
        model, scheme = load_checkpoint(contender.checkpoint), contender.scheme
        tuned = score_marked(model, encoder, tuning, scheme)
        readings[name] = Reading(
            contender=contender,
            candidates=[
                score_candidates(
                    model, encoder, question.task.question, question.image, question.texts, scheme=scheme
                )
                for question in track(questions, f"{name} scores candidates")
            ],
            solutions=score_marked(model, encoder, heldout, scheme),
            threshold=best_threshold(
                [score for scores, _ in tuned for score in scores],
                [mark for _, marks in tuned for mark in marks],
            ),
        )
    return readings


def score_marked(
    model: V2PEInternVL, encoder: NanoEncoder, bench: Path, scheme: Scheme
) -> list[tuple[tuple[float, ...], tuple[int, ...]]]:
    """Scores and marks of the steps of every solution of a VisualProcessBench file, images beside it.

    A critic of outcomes is asked of every step how the solution up to there will end.
    """

    def scores(record: MarkedRecord) -> tuple[float, ...]:
        image = read_image(media_path(bench.parent, record.images[0]))
        ends = range(1, len(record.steps) + 1) if scheme.labelling == "outcome" else (len(record.steps),)
        shown = [scheme.shown(record.question, image, record.steps[:end]) for end in ends]
        return sum(score_steps(model, encoder, shown, scheme=scheme), ())

    records = list(read_records(bench, parse_marked, BadRecords(allowed=0)))
    return [(scores(record), record.marks) for record in records]
