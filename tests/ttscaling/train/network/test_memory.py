"""The memory estimate compared with sums by hand, and with the tensors that a step really keeps."""

import gc
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import InternVLConfig

from model.checkpoint.config_layouts import config_to_transformers
from tests.model.sizes import SIZES, config_json
from tests.ttscaling.train.data.material import tiny_model
from tests.ttscaling.train.jobs import job, recipe
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.records.meta import read_meta
from ttscaling.train.checkpoints.load import load_model
from ttscaling.train.network.attention import segments_of
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.memory import host_bytes, memory, parameters, state_bytes
from ttscaling.train.run.global_batch import StepPacks
from ttscaling.train.run.job import Job
from ttscaling.train.run.sharding import ShardedRoot, make_accelerator, prepared
from ttscaling.train.run.step import BatchTotals, step
from ttscaling.train.run.task import make_task
from ttscaling.train.settings.published import SIZES as PUBLISHED
from ttscaling.train.settings.published import published
from ttscaling.train.settings.recipe import PARTS, Part, Recipe

GB = 1e9


def config_of(name: str) -> InternVLConfig:
    size = next(size for size in SIZES if size.name == name)
    return InternVLConfig(**config_to_transformers(config_json(size, "opengvlab"), 151667))


@pytest.mark.parametrize("size", SIZES[:7], ids=lambda size: size.name)
def test_parameters_are_as_many_as_published(size):
    config = InternVLConfig(**config_to_transformers(config_json(size, "opengvlab"), 151667))
    counts = parameters(config)
    assert sum(counts.values()) / 1e9 == pytest.approx(size.billions, rel=0.1)
    assert counts["vision"] / 1e9 == pytest.approx(0.3 if size.vision.layers == 24 else 5.5, rel=0.1)
    vision, width = size.vision.hidden, size.hidden
    assert counts["projector"] == 8 * vision + 4 * vision * width + width + width * width + width


def test_the_sharded_state_takes_sixteen_bytes_per_parameter():
    """The state is weights, gradients and two moments in fp32."""
    config, recipe = config_of("InternVL3-8B"), published("pretrain", "8B")
    count = sum(parameters(config).values())
    for devices in (1, 8, 64):
        needed = memory(config, recipe, devices=devices)
        state = needed.weights + needed.gradients + needed.optimizer
        assert state == pytest.approx(16 * count / devices, rel=1e-6)
        assert needed.held == state
        others = needed.peak - state - needed.gathered
        assert others == max(
            needed.activations + needed.logits,
            needed.activations + needed.layer_gradients,
            needed.root_gradients,
        )


def test_whole_gradients_are_those_of_a_layer_and_of_the_root():
    """A gradient is bf16 when it is computed, and it is copied into fp32 before it is reduced."""
    config, recipe = config_of("InternVL3-8B"), published("sft", "8B")
    embeddings = 2 * 151674 * 3584
    layer = 3584 * (2 * 3584 + 2 * 512 + 3 * 18944)
    needed = memory(config, recipe, devices=8)
    assert needed.layer_gradients == pytest.approx(6 * layer, rel=1e-3)
    assert needed.root_gradients == pytest.approx(6 * embeddings, rel=5e-3)
    frozen = memory(config, replace(recipe, parts=("projector",)), devices=8)
    assert frozen.root_gradients == 0
    alone = memory(config, recipe, devices=1)
    assert alone.layer_gradients == alone.root_gradients == 0
    assert alone.gathered == 2 * sum(parameters(config).values())


def test_frozen_parts_have_no_gradients_nor_moments():
    config, recipe = config_of("InternVL3-8B"), published("pretrain", "8B")
    counts = parameters(config)
    needed = memory(config, replace(recipe, parts=("projector",)), devices=1)
    assert needed.weights == 4 * sum(counts.values())
    assert needed.gradients + needed.optimizer == 12 * counts["projector"]


def test_adapters_alone_have_gradients_and_moments():
    """On one device the frozen weights are bf16. A layer's adapter has rank x (inputs + outputs) weights."""
    config, full = config_of("InternVL3-8B"), published("critic", "8B")
    count, width, inner, key = sum(parameters(config).values()), 3584, 18944, 4 * 128
    layer = 4 * width + 2 * (width + key) + 3 * (width + inner)  # q and o, k and v, and the MLP's three
    adapters = 28 * 16 * layer
    recipe = replace(full, lora_rank=16, parts=("language",))
    alone, sharded = (memory(config, recipe, devices=devices) for devices in (1, 8))
    assert alone.weights == 2 * count + 4 * adapters
    assert sharded.weights == 4 * (count + adapters) // 8
    assert (alone.gradients, alone.optimizer) == (4 * adapters, 8 * adapters)
    in_8_bits = memory(config, replace(recipe, optimizer="adamw8bit"), devices=1)
    assert (in_8_bits.gradients, in_8_bits.optimizer) == (4 * adapters, 2 * adapters)
    assert alone.peak < memory(config, full, devices=1).peak / 4


def test_what_a_run_takes_on_the_host_and_on_the_disk():
    """Each of 8 processes reads 64 of 512 packs from 8 streams, with 9 open packs of 48 tiles each."""
    config, recipe = config_of("InternVL3-8B"), published("pretrain", "8B")
    tile = 3 * 448**2
    assert host_bytes(config, recipe, devices=8) == (8 * 9 + 2 * 64) * 48 * tile
    counts = parameters(config)
    assert state_bytes(config, recipe) == 12 * sum(counts.values())
    frozen = replace(recipe, parts=("language",))
    assert state_bytes(config, frozen) == 4 * sum(counts.values()) + 8 * counts["language"]


def test_logits_are_those_of_a_chunk():
    config, recipe = config_of("InternVL3-1B"), published("pretrain", "1B")
    for tokens, positions in ((1000, 1000), (16384, 2048), (32768, 2048)):
        needed = memory(config, replace(recipe, max_tokens=tokens), devices=8)
        assert needed.logits == positions * 151674 * 10


@pytest.mark.parametrize("size", PUBLISHED)
def test_every_published_size_fits_somewhere(size):
    """InternVL3's fine-tuning ran on 512 devices of 80 GB. A tenth of this stays free."""
    name = f"InternVL3-{size}"
    needed = memory(config_of(name), published("pretrain", size), devices=512)
    assert needed.peak < 72 * GB
    if size in ("38B", "78B"):
        alone = memory(config_of(name), published("pretrain", size), devices=1)
        assert alone.peak > 500 * GB


def float_bytes() -> int:
    """Return the bytes of all float tensors in this process."""
    gc.collect()
    # isinstance alone would wake up the lazy objects of other packages.
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    storages = {}
    for tensor in tensors:
        is_real = not isinstance(tensor, DTensor | FakeTensor) and tensor.device.type == "cpu"
        if is_real and tensor.is_floating_point():
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def record_held(jobs: tuple[Job, ...], folder: Path) -> None:
    """Take two steps of each job, and save what this process holds at the beginning of each micro-batch.

    The steps are taken without the threads of a run, because no other thread may create objects meanwhile.
    """
    held: list[int] = []

    def measure(module: torch.nn.Module, arguments: Any) -> None:
        if isinstance(module, ShardedRoot):
            held.append(float_bytes())

    register_module_forward_pre_hook(measure)
    for each in jobs:
        held.clear()
        accelerator = make_accelerator(each.recipe.precision)
        data_sets = read_meta(each.data, base=each.base)
        task = make_task(each.kind, each.model, data_sets, each.recipe)
        module, optimizer = prepared(load_model(each.model, dtype=torch.float32), task, accelerator)
        stream = task.stream(accelerator.process_index)
        for _ in range(2):
            packs = StepPacks(tuple(task.objective.micro(next(stream)) for _ in range(2)), states={})
            totals = BatchTotals(torch.tensor(1.0), samples=1, tokens=1)
            step(module, optimizer, task.objective, packs, totals, accelerator, rate=1e-3, clip=1.0)
        accelerator.free_memory()
        (folder / f"{each.output.name}-{accelerator.process_index}.json").write_text(json.dumps(held))


def test_a_sharded_process_holds_what_the_estimate_says(tmp_path: Path) -> None:
    """Two processes shard a model in bf16, and each has two micro-batches in a step."""
    parts: Mapping[str, tuple[Part, ...]] = {"all": PARTS, "language": ("language",)}
    jobs = tuple(
        job(tmp_path, name=name, recipe=recipe(steps=2, precision="bf16", parts=trained))
        for name, trained in parts.items()
    )
    run_sharded(tmp_path, 2, record_held, jobs, tmp_path)
    config = load_model(jobs[0].model, dtype=torch.float32).config
    for each in jobs:
        expected = memory(config, each.recipe, devices=2)
        for process in range(2):
            # There are two steps of two micro-batches, and the moments exist from the second step on.
            held = json.loads((tmp_path / f"{each.output.name}-{process}.json").read_text())
            print(f"{each.output.name} trained: {held[3]} bytes are held, {expected.held} are estimated")
            assert held[0] == pytest.approx(expected.weights, rel=0.05)
            assert held[1] == pytest.approx(expected.weights + expected.gradients, rel=0.05)
            assert held[2] == pytest.approx(expected.weights + expected.optimizer, rel=0.05)
            assert held[3] == pytest.approx(expected.held, rel=0.05)


def kept_bytes(model: V2PEInternVL, recipe: Recipe) -> int:
    """Return the bytes that a forward pass of a full pack keeps for the backward pass, without weights."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids_1T = torch.full((1, recipe.max_tokens), 7)
    ids_1T[0, : 4 * recipe.max_tiles] = model.config.image_token_id
    model.train()
    if recipe.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden_1TD = model.hidden_states(
            input_ids=ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            segments=segments_of(torch.zeros_like(ids_1T[0]), torch.zeros_like(ids_1T[0])),
            position_ids=torch.arange(recipe.max_tokens)[None].float(),
            pixel_values=torch.zeros(recipe.max_tiles, 56, 56, 3, dtype=torch.uint8),
        )
    assert hidden_1TD.requires_grad
    return sum(kept.values())


def test_the_estimate_of_activations_is_near_what_a_step_keeps():
    model = tiny_model()
    recipe = Recipe(
        steps=1, batch=1, learning_rate=1e-3, max_tokens=256, max_tiles=32, precision="fp32", recompute=False
    )
    frugal = replace(recipe, recompute=True)
    estimates = [memory(model.config, r, devices=1).activations for r in (recipe, frugal)]
    kept = [kept_bytes(model, r) for r in (recipe, frugal)]
    assert estimates[0] == pytest.approx(kept[0], rel=0.25)
    # The forward pass keeps no inner activations of the two layers. The estimate includes those of one layer,
    # which the backward pass needs.
    assert 2 * (estimates[0] - estimates[1]) == pytest.approx(kept[0] - kept[1], rel=0.25)
