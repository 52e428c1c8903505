"""Run one training stage of nano as a program under torch's launcher.

Each stage reads the outputs of earlier stages in the directory: base/, policy/, expert/, rollouts.jsonl,
verifier/, critic/ and orm/. VARIANTS of the critic's second round don't belong to that chain, and are written
into critics/.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ttscaling.train.nano.network.architecture import (
    CONTEXT,
    CRITIC_LAYERS,
    POLICY_LAYERS,
    load_checkpoint,
    nano_config,
    new_model,
    save_checkpoint,
)
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import build_tokenizer, load_tokenizer
from ttscaling.train.network.internvl import V2PEInternVL

from .critic import train_critic
from .curriculum import Round, learn_to_judge, learn_to_verify
from .labelling import BY_OUTCOME, BY_VALUE, Scheme
from .monte_carlo import TorchSampler, drawn_questions, load_rollouts, make_rollouts, save_rollouts
from .policy import finetune, pretrain
from .ranking import AnsweredQuestion, rank_candidates, sample_candidates
from .training_loop import make_accelerator
from .vision import train_vision

# These are the sampling defaults of the served checkpoint. At this temperature the policy makes many and
# varied slips, so a critic has a choice. The greedy candidate is in every Best-of-N anyway.
SAMPLING = {"temperature": 1.3, "top_p": 1.0}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The optimiser steps of each stage, and the numbers of problems, solutions and continuations."""

    vision: int = 300
    pretrain: int = 900
    policy: int = 100
    expert: int = 360
    problems: int = 600
    solutions: int = 6
    continuations: int = 16
    verifier: int = 3800
    critic: int = 3000  # the second round of each critic, with any labels


VARIANTS = {"advantage": Scheme(labelling="advantage"), "early-stop": Scheme(early_stop=True)}
NUM_WATCHED = 120  # questions whose candidates are ranked while a critic trains
MINIATURE = Budget(
    vision=4,
    pretrain=8,
    policy=4,
    expert=4,
    problems=6,
    solutions=2,
    continuations=2,
    verifier=8,
    critic=4,
)


def pretrain_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Train the vision path and pre-train the policy from random weights, into `base/`."""
    accelerator = make_accelerator()
    tokenizer = build_tokenizer(CONTEXT)
    model = new_model(nano_config(tokenizer, num_layers=POLICY_LAYERS), seed=seed)
    figures = train_vision(model, accelerator, steps=budget.vision, seed=seed)
    accelerator.print(f"share of digits read right on held-out drawings: {figures['heldout_reading']:.3f}")
    pretrain(model, NanoEncoder(tokenizer), accelerator, steps=budget.pretrain, seed=seed)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / "base", sampling=SAMPLING)


def policy_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Fine-tune `base/` for a short time into `policy/`."""
    finetune_base(directory, "policy", steps=budget.policy, seed=seed)


def expert_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Fine-tune `base/` for longer into `expert/`, from which the critic starts."""
    finetune_base(directory, "expert", steps=budget.expert, seed=seed)


def finetune_base(directory: Path, name: str, *, steps: int, seed: int) -> None:
    """Fine-tune `base/` on answers and save it as `name`."""
    accelerator = make_accelerator()
    tokenizer = load_tokenizer(directory / "base")
    model = load_checkpoint(directory / "base")
    finetune(model, NanoEncoder(tokenizer), accelerator, steps=steps, seed=seed)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / name, sampling=SAMPLING)


def rollouts_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Sample the policy's solutions with Monte-Carlo scores, into `rollouts.jsonl`."""
    accelerator = make_accelerator()
    encoder = NanoEncoder(load_tokenizer(directory / "policy"))
    part, parts = accelerator.process_index, accelerator.num_processes
    own_rollouts = make_rollouts(
        TorchSampler(
            load_checkpoint(directory / "policy"),
            encoder,
            temperature=SAMPLING["temperature"],
            seed=seed + part,
        ),
        num_problems=budget.problems,
        num_solutions=budget.solutions,
        num_continuations=budget.continuations,
        seed=seed,
        part=part,
        parts=parts,
    )
    rollouts = gather_object(own_rollouts)
    if accelerator.is_main_process:
        save_rollouts(rollouts, directory / "rollouts.jsonl")
        steps = [mc for rollout in rollouts for mc in rollout.mc]
        accelerator.print(
            f"{len(rollouts)} rollouts, {len(steps)} steps, {sum(mc > 0 for mc in steps)} of them labelled +"
        )


def verifier_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Train the critic's first round into `verifier/`; it starts from `expert/` with two more layers."""
    tokenizer = load_tokenizer(directory / "expert")
    config = nano_config(tokenizer, num_layers=CRITIC_LAYERS)
    model = deepened(load_checkpoint(directory / "expert"), config, seed=seed)
    critic_round(model, directory, "verifier", plan=learn_to_verify(budget.verifier), seed=seed)


def critic_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Train the critic's second round, from `verifier/` into `critic/`."""
    second_round(directory, "critic", steps=budget.critic, seed=seed)


def orm_stage(directory: Path, budget: Budget, seed: int) -> None:
    """Train the outcome reward model into `orm/`: a second round labelled by outcome instead of by value."""
    second_round(directory, "orm", steps=budget.critic, seed=seed, scheme=BY_OUTCOME)


def variant_stage(directory: Path, budget: Budget, seed: int, *, name: str) -> None:
    """Train a second round labelled by one of VARIANTS, into `critics/NAME/`."""
    second_round(directory, f"critics/{name}", steps=budget.critic, seed=seed, scheme=VARIANTS[name])


def second_round(directory: Path, name: str, *, steps: int, seed: int, scheme: Scheme = BY_VALUE) -> None:
    """Train `verifier/` for a second round on conversations labelled by `scheme`, and save it as `name`."""
    torch.manual_seed(seed + 1)  # The head of CriticLoss draws its weights from torch's generator.
    model = load_checkpoint(directory / "verifier")
    critic_round(model, directory, name, plan=learn_to_judge(steps), seed=seed + 1, scheme=scheme)


def critic_round(
    model: V2PEInternVL, directory: Path, name: str, *, plan: Round, seed: int, scheme: Scheme = BY_VALUE
) -> None:
    """Train a critic for one round and save it as `name`."""
    accelerator = make_accelerator()
    tokenizer = load_tokenizer(directory / "policy")
    encoder = NanoEncoder(tokenizer)
    rollouts = load_rollouts(directory / "rollouts.jsonl")
    policy = load_checkpoint(directory / "policy")
    sampler = TorchSampler(policy, encoder, temperature=SAMPLING["temperature"], seed=seed)
    # The watched questions are about training drawings, so that held-out drawings influence no decision.
    watched = sample_candidates(sampler, list(drawn_questions(NUM_WATCHED, seed + 1)))
    report = progress_report(model, encoder, watched, accelerator, scheme)
    train_critic(model, encoder, rollouts, accelerator, plan=plan, seed=seed, scheme=scheme, on_step=report)
    if accelerator.is_main_process:
        save_checkpoint(model, tokenizer, directory / name, sampling={"temperature": 1.0})


def deepened(expert: V2PEInternVL, config: object, *, seed: int) -> V2PEInternVL:
    """Return a deeper model with the expert's weights; the layers added at the end are random.

    Raises ValueError if the config isn't that of a deeper expert.
    """
    model = new_model(config, seed=seed)
    missing, unexpected = model.load_state_dict(expert.state_dict(), strict=False)
    if unexpected or any(".layers." not in name for name in missing):
        raise ValueError(
            "the config isn't that of the expert with more layers, so the expert's weights don't fit: "
            f"missing {missing}, unexpected {unexpected}"
        )
    return model


def progress_report(
    model: V2PEInternVL,
    encoder: NanoEncoder,
    watched: list[AnsweredQuestion],
    accelerator: Accelerator,
    scheme: Scheme,
) -> Callable[[int, Mapping[str, float]], None]:
    """Return a function that prints, every 200 steps, how well the critic ranks the watched candidates."""

    def report(step: int, figures: Mapping[str, float]) -> None:
        if step % 200 == 0:
            with torch.no_grad():
                ranking = rank_candidates(model, encoder, watched, scheme=scheme)
            rounded = {name: round(value, 3) for name, value in {**figures, **ranking}.items()}
            accelerator.print(f"step {step} {rounded}")

    return report


def main() -> None:
    stages = {
        "pretrain": pretrain_stage,
        "policy": policy_stage,
        "expert": expert_stage,
        "rollouts": rollouts_stage,
        "verifier": verifier_stage,
        "critic": critic_stage,
        "orm": orm_stage,
    } | {name: partial(variant_stage, name=name) for name in VARIANTS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=list(stages))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--miniature", action="store_true", help="train only a few steps, to test the chain")
    arguments = parser.parse_args()
    budget = MINIATURE if arguments.miniature else Budget()
    stages[arguments.stage](arguments.directory, budget, arguments.seed)


if __name__ == "__main__":
    main()
