"""Train a policy with V2PE or one without it to find a sheet among blank pages, under torch's launcher.

The two policies differ only in their positions. Initial weights, drawings, questions and pages are the same.
`v2pe` starts from the chain's `base/`, in which every image drew a delta. `ordinary` starts from another
pre-training, in which all positions are ordinary ones (delta 1).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from model.v2pe import TRAINED_DELTAS
from ttscaling.train.nano.network.architecture import (
    CONTEXT,
    POLICY_LAYERS,
    load_checkpoint,
    nano_config,
    new_model,
    save_checkpoint,
)
from ttscaling.train.nano.network.tokenizer import build_tokenizer, load_tokenizer
from ttscaling.train.nano.stages.policy import finetune, pretrain
from ttscaling.train.nano.stages.program import MINIATURE, SAMPLING, Budget
from ttscaling.train.nano.stages.training_loop import make_accelerator
from ttscaling.train.nano.stages.vision import train_vision

from .haystack import Haystack, HaystackEncoder

Positions = Literal["v2pe", "ordinary"]
BASES: dict[Positions, str] = {"v2pe": "base", "ordinary": "ordinary-base"}
DELTAS: dict[Positions, Sequence[float]] = {"v2pe": TRAINED_DELTAS, "ordinary": (1.0,)}
SMALL = 0.3  # share of small pages
TRAINED = Haystack(length=128, full=False, media=("images", "video"), small=SMALL)
ALONE = Haystack(length=0, full=False)
STEPS = 75


def ordinary_base(directory: Path, budget: Budget, seed: int) -> None:
    """Repeat the chain's vision warm-up and pre-training, with the same draws but ordinary positions."""
    accelerator = make_accelerator()
    tokenizer = build_tokenizer(CONTEXT)
    model = new_model(nano_config(tokenizer, num_layers=POLICY_LAYERS), seed=seed)
    train_vision(model, accelerator, steps=budget.vision, seed=seed)
    encoder = HaystackEncoder(tokenizer, ALONE, deltas=DELTAS["ordinary"], seed=seed)
    pretrain(model, encoder, accelerator, steps=budget.pretrain, seed=seed)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / BASES["ordinary"], sampling=SAMPLING)


def reader(directory: Path, positions: Positions, seed: int, *, steps: int) -> None:
    """Fine-tune a base on questions about a sheet among pages, with at most TRAINED.length tokens."""
    accelerator = make_accelerator()
    base = directory / BASES[positions]
    tokenizer, model = load_tokenizer(base), load_checkpoint(base)
    pages_seed = 2 * seed + accelerator.process_index  # the processes draw different pages
    encoder = HaystackEncoder(tokenizer, TRAINED, deltas=DELTAS[positions], seed=pages_seed)
    finetune(model, encoder, accelerator, steps=steps, seed=seed)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / positions, sampling=SAMPLING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["ordinary-base", *BASES])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--miniature", action="store_true", help="train only a few steps, to test the program"
    )
    arguments = parser.parse_args()
    if arguments.stage == "ordinary-base":
        ordinary_base(arguments.directory, MINIATURE if arguments.miniature else Budget(), arguments.seed)
    else:
        steps = 2 if arguments.miniature else STEPS
        reader(arguments.directory, arguments.stage, arguments.seed, steps=steps)


if __name__ == "__main__":
    main()
