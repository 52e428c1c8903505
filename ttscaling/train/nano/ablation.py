"""`internvl3 train nano-critics`: which labels and which aggregation serve a critic best, on nano.

After Table 4 of VisualPRM (arXiv 2503.10291): critics that differ in nothing but the labels of their second
round are trained, and measured on the same candidates and steps.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ttscaling.evaluation.asking import EvaluationError

from .ablation_page import write_report
from .ablation_readings import Contender, candidates_of, read_all
from .ablation_report import summary
from .encoding import ChatEncoder
from .labelling import BY_OUTCOME, BY_VALUE
from .pipeline import Run, train_stage
from .stage import MINIATURE, VARIANTS, Budget
from .tokenizer import load_tokenizer

NEEDED = ("policy/config.json", "verifier/config.json", "rollouts.jsonl")


def ablate(run: Run, output: Path, *, seed: int) -> dict[str, Any]:
    """Trains what is missing, measures all of it, and writes the report; `seed` is the evaluation's.

    Raises as `train_variants`.
    """
    train_variants(run)
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    encoder = ChatEncoder(load_tokenizer(run.directory / "policy"))
    questions = candidates_of(run.directory, encoder, "heldout", run.questions, seed)
    readings = read_all(contenders(run), run.directory, encoder, questions, seed=seed)
    report = summary(questions, readings, seed=seed)
    command = f"internvl3 train nano-critics --seed {run.seed} --questions {run.questions} --eval-seed {seed}"
    write_report(report, output, command=command)
    return report


def train_variants(run: Run) -> None:
    """Trains what the run's directory lacks of VARIANTS.

    Raises:
        EvaluationError: it lacks what they grow from.
        CalledProcessError: a training failed.
    """
    missing = [name for name in NEEDED if not (run.directory / name).exists()]
    if missing:
        raise EvaluationError(
            f"{run.directory} lacks {', '.join(missing)}; train them first: "
            f"internvl3 train nano --resume --directory {run.directory}"
        )
    for name in VARIANTS:
        if not (run.directory / "critics" / name / "config.json").exists():
            train_stage(run, name)


def contenders(run: Run) -> Mapping[str, Contender]:
    """The variants, and the critics of the chain itself as far as they are there: those had more updates."""
    budget = MINIATURE if run.miniature else Budget()
    variants = {
        name: Contender(run.directory / "critics" / name, scheme, budget.variant)
        for name, scheme in VARIANTS.items()
    }
    chain = {
        name: Contender(run.directory / name, scheme, budget.critic)
        for name, scheme in (("critic", BY_VALUE), ("orm", BY_OUTCOME))
        if (run.directory / name / "config.json").exists()
    }
    return variants | chain
