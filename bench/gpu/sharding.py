"""Shard a model with FSDP2 in one process, or on CPU processes, as `accelerate launch` lets GPUs do it."""

import os
from pathlib import Path
from tempfile import mkdtemp

import torch
from accelerate import Accelerator
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from ttscaling.train.run.sharding import make_accelerator

CONFIG = Path(__file__).parents[2] / "recipes" / "fsdp2.yaml"


def launcher_environment() -> dict[str, str]:
    """Return the variables that `accelerate launch` sets for recipes/fsdp2.yaml."""
    parser = launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(CONFIG), "-m", "ttscaling.train"])
    arguments, _, _ = _validate_launch_command(arguments)
    environment: dict[str, str] = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}


def tell_accelerate_that_processes_are_gpus() -> None:
    """Let accelerate shard over the CPU processes of the group, which it does over GPUs only."""
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def accelerator_of_one_process(device: str) -> Accelerator:
    """Return the accelerator of a run in bf16 that is sharded over this process alone, on `cuda` or `cpu`."""
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= launcher_environment() | ranks
    meeting = f"file://{mkdtemp()}/meeting"
    backend = "nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
    if device == "cpu":
        tell_accelerate_that_processes_are_gpus()
    accelerator = make_accelerator("bf16")
    if not accelerator.is_fsdp2:
        raise RuntimeError("accelerate didn't shard: this script needs the pinned versions of requirements")
    return accelerator
