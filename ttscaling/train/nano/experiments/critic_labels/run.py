"""`internvl3 train nano-critics` measures which labels and which aggregation serve a nano critic best.

It repeats Table 4 of VisualPRM (arXiv 2503.10291) on nano. The critics differ only in the labels of their
second round, and they are measured on the same candidates and steps.
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
# The checkpoints of these two are part of the nano chain. The others are in critics/.
FOLDERS = {"value": "critic", "outcome": "orm"}
NEEDED = ("policy", "verifier", "critic", "orm")


def ablate(run: Run, output: Path, *, labels: Sequence[str], seed: int) -> dict[str, Any]:
    """Train the critics that are missing, measure all of them, write the report and return it.

    Args:
        run: the directory of a finished `train nano`, and the settings that it was trained with.
        output: the report's path; its ending is replaced by .json, .md and .png.
        labels: names in SCHEMES. They must include value, because the others are compared with it.
        seed: the seed of the questions, the candidates and the bootstrap.

    Raises:
        CommandError: a name in `labels` is unknown, value is missing, or the directory lacks a checkpoint.
        CalledProcessError: a training failed.
    """
    if "value" not in labels or not set(labels) <= set(SCHEMES):
        raise CommandError(
            f"--labels can't be {','.join(labels)}: choose from {', '.join(SCHEMES)}, and include value"
        )
    missing = [name for name in NEEDED if not (run.directory / name / "config.json").exists()]
    if missing:
        raise CommandError(
            f"{run.directory} lacks {', '.join(missing)}: "
            f"train them first with internvl3 train nano --resume --directory {run.directory}"
        )
    contenders = {
        name: Contender(run.directory / FOLDERS.get(name, f"critics/{name}"), scheme)
        for name, scheme in SCHEMES.items()
        if name in labels
    }
    for name, contender in contenders.items():
        if not (contender.checkpoint / "config.json").exists():
            train_stage(run, name)
    torch.set_num_threads(1)  # more threads don't make tensors this small any faster
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
