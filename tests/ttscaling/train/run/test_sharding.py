"""Sharding with FSDP2 as recipes/fsdp2.yaml configures it, compared with an ordinary run.

accelerate shards on GPUs only. Here its state is changed, so that it shards over two CPU processes.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from torch.multiprocessing.spawn import spawn

from tests.checkpoints import Language, Vision, build_checkpoint
from tests.ttscaling.train.jobs import figures, job, recipe, weights
from ttscaling.train.checkpoints.load import empty_model, load_model
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import ShardedRoot, make_accelerator

CONFIG = Path(__file__).parents[4] / "recipes" / "fsdp2.yaml"


def test_accelerate_reads_the_config() -> None:
    config = load_config_from_file(str(CONFIG))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == DistributedType.FSDP
    assert config.fsdp_config["fsdp_version"] == 2


def plugin_of_the_config() -> FullyShardedDataParallelPlugin:
    """Return the plugin that `accelerate launch` makes from the config."""
    lines = yaml.safe_load(CONFIG.read_text())["fsdp_config"]
    return FullyShardedDataParallelPlugin(
        fsdp_version=lines["fsdp_version"],
        auto_wrap_policy=lines["fsdp_auto_wrap_policy"],
        transformer_cls_names_to_wrap=lines.get("fsdp_transformer_layer_cls_to_wrap"),
        cpu_ram_efficient_loading=lines["fsdp_cpu_ram_efficient_loading"],
        reshard_after_forward=lines["fsdp_reshard_after_forward"],
        state_dict_type=lines["fsdp_state_dict_type"],
    )


@pytest.mark.parametrize("vision", ["300m", "6b"])
@pytest.mark.parametrize("language", ["qwen2", "qwen3", "internlm2"])
def test_the_shard_units_are_the_layers_and_the_projector(
    tmp_path: Path, language: Language, vision: Vision
) -> None:
    """If a language model were one unit, its positions would be cast to bf16."""
    model = empty_model(build_checkpoint(tmp_path, "opengvlab", language=language, vision=vision))
    is_unit = fsdp2_prepare_auto_wrap_policy(plugin_of_the_config(), ShardedRoot(model))
    assert is_unit is not None
    layers = [*model.model.vision_tower.encoder.layer, *model.model.language_model.layers]
    expected = [*layers, model.model.multi_modal_projector]
    assert {id(module) for module in model.modules() if is_unit(module)} == set(map(id, expected))


def sharded_accelerator() -> Accelerator:
    accelerator = make_accelerator("fp32")
    plugin = plugin_of_the_config()
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin
    return accelerator


def run_process(rank: int, folder: Path, sharded_job: Job, resume: bool) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/{resume}", rank=rank, world_size=2
    )
    run_job(sharded_job, sharded_accelerator(), resume=resume)
    torch.distributed.destroy_process_group()


def test_a_sharded_run_equals_an_ordinary_one(tmp_path: Path) -> None:
    """Compare the losses, the exported weights, and the weights of the run after it was resumed halfway."""
    settings = {"recipe": recipe(steps=4), "save_every": 2}
    alone = job(tmp_path, "mpo", name="alone", **settings)
    run_job(alone, make_accelerator("fp32"), resume=False)
    sharded = job(tmp_path, "mpo", name="sharded", **settings)
    spawn(run_process, args=(tmp_path, sharded, False), nprocs=2)
    for ours, theirs in zip(figures(sharded), figures(alone), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert_close(sharded, weights(alone.output / "model"))
    first = weights(sharded.output / "model")
    shutil.rmtree(sharded.output / "model")
    shutil.rmtree(sharded.output / "checkpoints" / "step-00000004")
    spawn(run_process, args=(tmp_path, sharded, True), nprocs=2)
    assert_close(sharded, first)


def assert_close(finished: Job, expected: Mapping[str, torch.Tensor]) -> None:
    """Assert that the weights are equal except for rounding.

    AdamW moves a weight by up to the learning rate at each step. The order of a sum may decide the sign of a
    gradient near 0, so single weights may move apart by twice the learning rate at each step.
    """
    ours = weights(finished.output / "model")
    assert ours.keys() == expected.keys()
    farthest = 2 * finished.recipe.learning_rate * len(figures(finished))
    for name, tensor in ours.items():
        difference = (tensor - expected[name]).abs()
        assert difference.max() <= farthest, name
        assert (difference > 1e-5).double().mean() <= 1e-3, name


def test_an_empty_model_differs_from_a_loaded_one_only_in_its_weights(tmp_path: Path) -> None:
    start = job(tmp_path).model
    empty, full = empty_model(start), load_model(start, dtype=torch.float32)
    assert {n: p.shape for n, p in empty.named_parameters()} == {
        n: p.shape for n, p in full.named_parameters()
    }
    addresses = {parameter.data_ptr() for parameter in empty.parameters()}
    assert len(addresses) == len(list(empty.parameters())), (
        "accelerate tells parameters apart by their addresses"
    )
    buffers = dict(full.named_buffers())
    assert buffers
    for name, buffer in empty.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
