"""Shared by the tests of sharded runs: CPU processes that see what `accelerate launch` shows to GPUs.

accelerate shards on GPUs only. So each process gets the environment that the launcher makes from
recipes/fsdp2.yaml, and accelerate's state is told that the gloo processes are GPUs before the product's own
`make_accelerator` runs.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

from bench.gpu.sharding import launcher_environment, tell_accelerate_that_processes_are_gpus

_TIME_LIMIT = timedelta(minutes=5)


def run_sharded(folder: Path, processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call `work(*arguments)` in new processes that shard a model as the launcher would let GPUs do it.

    Args:
        folder: an existing folder, in which the processes meet.
        processes: their number.
        work: a function of a test file. It gets its accelerator from `make_accelerator`.
        arguments: what it is called with.

    Raises:
        Exception: a process failed, or one waited for another for more than five minutes.
    """
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    spawn(_process, args=(processes, meeting, work, arguments), nprocs=processes)


def _process(
    rank: int,
    processes: int,
    meeting: Path,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= launcher_environment() | ranks | {"MASTER_ADDR": "127.0.0.1"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes, timeout=_TIME_LIMIT
    )
    tell_accelerate_that_processes_are_gpus()
    work(*arguments)
    torch.distributed.destroy_process_group()
