"""`internvl3 train nano-critics`: which labels and which aggregation serve a critic best, on nano.

After Table 4 of VisualPRM (arXiv 2503.10291): critics that differ in nothing but the labels of their second
round, measured on the same candidates and steps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ttscaling.console import CommandError
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer
from ttscaling.train.nano.pipeline import Run, train_stage
from ttscaling.train.nano.stages.labelling import BY_OUTCOME, BY_VALUE
from ttscaling.train.nano.stages.program import MINIATURE, VARIANTS, Budget

from .figures import summary
from .page import write_report
from .readings import Contender, candidates_of, read_all

SCHEMES = {"value": BY_VALUE, **VARIANTS, "outcome": BY_OUTCOME}
FOLDERS = {"value": "critic", "outcome": "orm"}  # of the chain itself; the others are in critics/
NEEDED = ("policy", "verifier", "critic", "orm")


def ablate(run: Run, output: Path, *, labels: Sequence[str], seed: int) -> dict[str, Any]:
    """Trains what is missing, measures all of it, and writes the report.

    Args:
        run: a directory in which `train nano` is through, and how it was trained.
        output: the report's path; its ending is replaced.
        labels: of SCHEMES, value among them, which the others are compared with.
        seed: the evaluation's.

    Raises:
        EvaluationError: a labelling is unknown, or the directory lacks what the critics grow from.
        CalledProcessError: a training failed.
    """
    if "value" not in labels or not set(labels) <= set(SCHEMES):
        raise CommandError(
            f"--labels are {', '.join(SCHEMES)}; value is needed, the others are compared with it"
        )
    missing = [name for name in NEEDED if not (run.directory / name / "config.json").exists()]
    if missing:
        raise CommandError(
            f"{run.directory} lacks {', '.join(missing)}; train them first: "
            f"internvl3 train nano --resume --directory {run.directory}"
        )
    contenders = {
        name: Contender(run.directory / FOLDERS.get(name, f"critics/{name}"), scheme)
        for name, scheme in SCHEMES.items()
        if name in labels
    }
    for name, contender in contenders.items():
        if not (contender.checkpoint / "config.json").exists():
            train_stage(run, name)
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    encoder = NanoEncoder(load_tokenizer(run.directory / "policy"))
    questions = candidates_of(run.directory, encoder, "heldout", run.questions, seed)
    readings = read_all(contenders, run.directory, encoder, questions, seed=seed)
    budget = MINIATURE if run.miniature else Budget()
    report = summary(questions, readings, seed=seed) | {"updates": budget.critic}
    command = (
        f"internvl3 train nano-critics --labels {','.join(contenders)} --seed {run.seed}"
        f" --questions {run.questions} --eval-seed {seed}"
    )
    write_report(report, output, command=command)
    return report
