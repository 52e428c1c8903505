"""Settings out of range, the published settings, the learning rate and the optimiser."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ttscaling.train.run.optimizer import learning_rate_factor, make_optimizer
from ttscaling.train.settings.published import SIZES, published
from ttscaling.train.settings.recipe import Recipe

ONE = Recipe(steps=10, batch=1, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1.0}, "either steps or epochs"),
        ({"steps": None}, "either steps or epochs"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"warmup": 1.5, "clip": 0.0}, r"warmup \(1\.5\), clip \(0\.0\)"),
        ({"deltas": ()}, "deltas"),
        ({"deltas": (2.0,)}, "deltas"),
        ({"parts": ("head",)}, "parts"),
        ({"precision": "bfloat16"}, "precision"),
        ({"bad_records": 2.0}, "bad_records"),
        ({"batch": 6, "streams": 4}, "streams"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(ONE, **changes)


def test_a_large_batch_is_read_by_at_most_64_streams():
    batches = {1: 1, 16: 16, 64: 64, 100: 50, 128: 64, 512: 64, 131: 1}
    assert {batch: replace(ONE, batch=batch).num_streams for batch in batches} == batches
    assert replace(ONE, batch=512, streams=512).num_streams == 512


def test_the_published_settings():
    """Sources: OpenGVLab/InternVL shell/internvl2.5 and shell/internvl3.0; VisualPRM section 6."""
    pretrain = published("pretrain", "8B")
    assert (pretrain.learning_rate, pretrain.steps, pretrain.batch) == (4e-5, 5500, 512)
    assert (pretrain.max_tokens, pretrain.max_tiles, len(pretrain.parts)) == (16384, 48, 3)
    assert published("pretrain", "1B").weight_decay == 0.01
    assert published("pretrain", "78B").learning_rate == 2e-5
    for size in SIZES:
        sft = published("sft", size)
        assert sft.learning_rate == (1e-5 if size == "1B" else 2e-5)
        assert (sft.epochs, sft.weight_decay, sft.warmup, sft.max_tokens) == (1, 0.05, 0.03, 16384)
        assert sft.parts == ("projector", "language"), "the vision tower is frozen"
    mpo = [published("mpo", size) for size in ("14B", "38B")]
    assert [(r.learning_rate, r.epochs, r.max_tokens) for r in mpo] == [(2e-7, 1, 12288), (2e-7, 1, 8192)]
    critic = published("critic", "8B")
    assert (critic.learning_rate, critic.warmup, critic.weight_decay, critic.epochs) == (1e-5, 0.05, 0.05, 1)
    for size in SIZES:
        for kind in ("pretrain", "sft", "critic", "mpo"):
            assert published(kind, size).average == "square"
            assert len(published(kind, size).deltas) == 9


def test_the_learning_rate_rises_and_falls():
    steps, warmup = 100, 0.1
    factors = [learning_rate_factor(n / steps, (n + 1) / steps, warmup) for n in range(steps)]
    assert factors[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert factors[10] == pytest.approx(1)
    assert factors[55] == pytest.approx(0.5)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.001
    assert learning_rate_factor(0, 1, 0) == 1
    assert learning_rate_factor(1, 1, 1) == pytest.approx(1)
    assert not math.isnan(learning_rate_factor(1, 1, 0.5))


def test_frozen_parameters_have_no_moments_and_vectors_no_decay():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    module[0].requires_grad_(False)
    optimizer = make_optimizer(module, ONE)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {id(module[1].weight): 0.05, id(module[1].bias): 0.0}
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 2
