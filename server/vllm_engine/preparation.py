"""Check what needs no running engine, and decide what each engine is started with."""

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vllm.config import VllmConfig
from vllm.platforms import current_platform

from model.checkpoint.missing import require_tensors
from model.plugin.register import require_plugin
from server.errors import StartupError
from server.settings import Settings

from .arguments import engine_arguments, engine_config
from .engine_flags import EngineRole
from .media_connector import CONNECTOR_NAME
from .memory.machine import engine_plan, share_gpus, share_memory, visible_gpus
from .memory.need import require_whole_groups
from .operator_flags import check_operator_flags


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """All engines as vLLM starts them, and whether they may start at the same time."""

    arguments: Sequence[Namespace]
    configs: Sequence[VllmConfig]
    side_by_side: bool


def prepare(roles: Sequence[EngineRole], settings: Settings) -> Preparation:
    """Return what each engine is started with, after all checks that need no running engine.

    On GPUs each configuration holds the engine's share of their memory. Raises StartupError, PluginError,
    ValueError or OSError.
    """
    require_plugin()
    if settings.video_backend == "decord" and find_spec("decord") is None:
        raise StartupError(
            "--video-backend decord: the package decord is not installed; install it, or use pyav"
        )
    for role in roles:
        check_operator_flags(role.title, role.extra, os.environ)
        folder = Path(role.path)
        if folder.is_dir():
            require_tensors(folder)
        elif folder.is_absolute():  # a relative path may be a name on the hub, which the engine resolves
            raise StartupError(f"there is no {role.title} checkpoint in {folder}: correct --{role.title}")
    os.environ["VLLM_MEDIA_CONNECTOR"] = CONNECTOR_NAME
    cpu = current_platform.is_cpu()
    if cpu:
        # With multiprocessing, vLLM would replace the executor "uni" on a CPU.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        # Nothing is compiled, which saves a pause of seconds at the first request.
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // len(roles))))
    arguments = engine_arguments(roles, settings, cpu=cpu)
    configs = [engine_config(*pair) for pair in zip(roles, arguments, strict=True)]
    for role, config in zip(roles, configs, strict=True):
        ranks = config.parallel_config.tensor_parallel_size
        require_whole_groups(role.title, role.path, config.model_config.hf_config, ranks)
    if cpu:
        return Preparation(arguments=arguments, configs=configs, side_by_side=True)
    plans = [engine_plan(*pair) for pair in zip(roles, configs, strict=True)]
    share_memory(visible_gpus(), plans, configs)
    return Preparation(arguments=arguments, configs=configs, side_by_side=not share_gpus(plans))
