"""`internvl3 train nano-v2pe` measures every delta at the trained length and at multiples of it.

It repeats Table 12 of the InternVL3 paper (arXiv 2504.10479) on nano, and adds inputs that are longer than
any in training, because V2PE was made for those. The rows are the deltas with which the policy with V2PE
answers, and `none` for the policy without V2PE.

Shapes: N questions, R rows.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from model.v2pe import next_position, positions
from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.problems import Problem, heldout
from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.markdown import write_block
from ttscaling.train.nano.network.architecture import load_checkpoint, write_json
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.pipeline import Run, train_stage
from ttscaling.train.nano.stages.policy import SHORT_KINDS, answer_greedily

from .haystack import Haystack, HaystackEncoder, Medium
from .page import draw, v2pe_lines
from .program import BASES, SMALL, TRAINED, Positions

ROWS: Mapping[str, tuple[Positions, float]] = {
    "none": ("ordinary", 1.0),
    **{str(Fraction(1, 4**k)): ("v2pe", 4.0**-k) for k in range(5)},
}
TIMES = (1, 2, 4, 8)
MEDIA: tuple[Medium, ...] = ("images", "video")
EVAL_SEED = 777
PAGES_SEED = 7
TOKENS_TOGETHER = 8192  # tokens of the prompts that are answered in one batch


@dataclass(frozen=True)
class Cell:
    """One row at one length: which answers are right (0 or 1), and the mean position of their first token."""

    right_N: NDArray[np.float64]
    position: float


def run_table(
    run: Run, base: Path | None, page: Path | None, *, times: Sequence[int] = TIMES
) -> dict[str, Any]:
    """Train the policies that `run.directory` lacks, measure them, write the report and return it.

    `base` is the folder of the pre-trained policy with V2PE, from a run of the nano chain. Without it, that
    policy is trained too. The lengths are `times` the trained length. Raises FileNotFoundError if there is no
    folder `base`, and CalledProcessError if a training fails.
    """
    torch.set_num_threads(1)  # more threads don't make tensors this small any faster
    folder = run.directory
    folder.mkdir(parents=True, exist_ok=True)
    if base is not None:
        shutil.copytree(base, folder / BASES["v2pe"], dirs_exist_ok=True)
    stages = [
        ("base", "pretrain", "stages.program"),
        ("ordinary-base", "ordinary-base", "experiments.v2pe.program"),
    ]
    stages += [(name, name, "experiments.v2pe.program") for name in BASES]
    for output, stage, program in stages:
        if not (folder / output / "config.json").exists():
            train_stage(run, stage, program=f"ttscaling.train.nano.{program}")
    report = measure(folder, times, num_questions=run.questions, seed=EVAL_SEED)
    write_json(folder / "report.json", report)
    if page is not None:
        plot = page.with_suffix(".png")
        draw(report, plot)
        write_block(page, "nano-v2pe", v2pe_lines(report, plot.name))
    return report


def measure(directory: Path, times: Sequence[int], *, num_questions: int, seed: int) -> dict[str, Any]:
    """Return the report on the policies `v2pe/` and `ordinary/`; cells measured before are kept."""
    questions = [p for p in heldout(2 * num_questions, seed) if p.kind in SHORT_KINDS][:num_questions]
    return {
        "n": num_questions,
        "seed": seed,
        "trained": TRAINED.length,
        "media": {medium: _of_medium(directory, medium, times, questions, seed) for medium in MEDIA},
    }


def _of_medium(
    directory: Path, medium: Medium, times: Sequence[int], questions: Sequence[Problem], seed: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for factor in times:
        cells = {row: measure_cell(directory, row, medium, factor, questions) for row in ROWS}
        right_NR = np.stack([cell.right_N for cell in cells.values()], axis=1)
        gain_NR = right_NR - right_NR[:, :1]  # the first row is `none`
        accuracies, gains = (bootstrap(values, seed=seed) for values in (right_NR, gain_NR))
        for (row, cell), a, g in zip(cells.items(), accuracies, gains, strict=True):
            rows.append(
                {
                    "delta": row,
                    "times": factor,
                    "position": cell.position,
                    "accuracy": a.mean,
                    "low": a.low,
                    "high": a.high,
                    "over_none": {"difference": g.mean, "low": g.low, "high": g.high},
                }
            )
    return rows


def measure_cell(directory: Path, row: str, medium: Medium, times: int, questions: Sequence[Problem]) -> Cell:
    """Return the cell of greedy answers about sheets among as many blank pages as fit the length.

    All rows have the same pages. The cell is kept in a file for the next run.
    """
    file = directory / "cells" / f"{medium}-{times}x-{row.replace('/', '_')}-{len(questions)}.json"
    if not file.exists():
        name, delta = ROWS[row]
        length = TRAINED.length * times
        tokenizer, model = load_tokenizer(directory / name), load_checkpoint(directory / name)

        def encoder() -> HaystackEncoder:
            haystack = Haystack(length=length, full=True, media=(medium,), small=SMALL)
            return HaystackEncoder(tokenizer, haystack, deltas=(delta,), seed=PAGES_SEED)

        batch_size = max(1, TOKENS_TOGETHER // length)
        # Two encoders with the same seed draw the same pages, for the answers and for the positions.
        answering, counting = encoder(), encoder()
        texts: list[str] = []
        for start in track(range(0, len(questions), batch_size), f"{medium} {times}x {row}", transient=True):
            texts += answer_greedily(model, answering, questions[start : start + batch_size])
        firsts = []
        for problem in questions:
            prompt = counting.prompt(problem.question, problem.image, delta=delta)
            firsts.append(next_position(positions(prompt.ids_T == counting.image_token, delta)))
        right = [final_answer(text) == problem.answer for text, problem in zip(texts, questions, strict=True)]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"right": right, "position": float(np.mean(firsts))}) + "\n")
    record = json.loads(file.read_text())
    return Cell(np.array(record["right"], dtype=np.float64), record["position"])
