"""Test the whole chain in miniature: every stage runs, and its checkpoint can be loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from ttscaling.train.nano.network.architecture import load_checkpoint
from ttscaling.train.nano.stages.monte_carlo import load_rollouts
from ttscaling.train.nano.stages.orm import OutcomeRewardModel
from ttscaling.train.nano.stages.program import (
    MINIATURE,
    Budget,
    critic_stage,
    expert_stage,
    orm_stage,
    policy_stage,
    pretrain_stage,
    rollouts_stage,
    verifier_stage,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nano")
    chain = (
        pretrain_stage,
        policy_stage,
        expert_stage,
        rollouts_stage,
        verifier_stage,
        critic_stage,
        orm_stage,
    )
    for stage in chain:
        stage(directory, MINIATURE, 1)
    return directory


def test_policy_and_critic_are_saved_in_the_opengvlab_layout(directory: Path) -> None:
    for name, layers in (("policy", 3), ("critic", 5), ("orm", 5)):
        assert {path.name for path in (directory / name).iterdir()} >= {
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        model = load_checkpoint(directory / name)
        assert len(model.model.language_model.layers) == layers
        assert sum(p.numel() for p in model.parameters()) < 2_000_000


def test_the_outcome_reward_model_gives_a_solution_one_score(directory: Path) -> None:
    model = OutcomeRewardModel(directory / "orm")
    first, second = "3+7=10\n\nFinal answer: 10", "3+7=11\n\nFinal answer: 11"
    scores = model.scores("What is 3+7?", Image.new("RGB", (84, 84)), [first, second, first])
    assert all(0 < score < 1 for score in scores)
    assert scores[0] == scores[2] != scores[1]


def test_every_step_of_a_rollout_has_a_monte_carlo_score(directory: Path) -> None:
    rollouts = load_rollouts(directory / "rollouts.jsonl")
    assert rollouts
    for rollout in rollouts:
        assert len(rollout.mc) == len(rollout.steps)
        assert all(0 <= mc <= 1 for mc in rollout.mc)


@pytest.mark.parametrize(
    ("stage", "output"),
    [
        (pretrain_stage, "base"),
        (expert_stage, "expert"),
        (verifier_stage, "verifier"),
        (critic_stage, "critic"),
    ],
)
def test_the_same_seed_gives_the_same_weights(
    stage: Callable[[Path, Budget, int], None], output: str, directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    torch.seed()  # a new process starts from a random seed too
    stage(tmp_path, MINIATURE, 1)
    first, again = (load_checkpoint(path / output).state_dict() for path in (directory, tmp_path))
    for name, tensor in first.items():
        assert torch.equal(again[name], tensor), name
