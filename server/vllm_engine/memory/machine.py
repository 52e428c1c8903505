"""Read the GPUs of this machine and the engines' configurations, and give each engine its share of memory."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vllm.config import VllmConfig
from vllm.platforms import current_platform

from model.checkpoint.description import read_checkpoint
from model.checkpoint.parameters import weight_bytes
from server.vllm_engine.engine_flags import EngineRole
from server.vllm_engine.operator_flags import operator_flag_names

from .need import EnginePlan
from .shares import memory_shares

logger = logging.getLogger("internvl3.engine")


def visible_gpus() -> dict[int, int]:
    """Return the memory in bytes of each visible GPU, by the number that the driver gives it."""
    return {
        current_platform.device_id_to_physical_device_id(index): current_platform.get_device_total_memory(
            index
        )
        for index in range(current_platform.device_count())
    }


def engine_plan(role: EngineRole, config: VllmConfig) -> EnginePlan:
    """Return what decides how much memory an engine needs."""
    model, parallel, folder = config.model_config, config.parallel_config, Path(role.path)
    cache_dtype, width = str(config.cache_config.cache_dtype), model.dtype.itemsize
    devices = parallel.assigned_physical_gpu_ids or [
        current_platform.device_id_to_physical_device_id(rank)
        for rank in range(parallel.world_size_across_dp)
    ]
    lora = config.lora_config
    chosen = operator_flag_names(role.title, role.extra)
    return EnginePlan(
        title=role.title,
        name=role.path,
        config=model.hf_config,
        weights=weight_bytes(model.hf_config, width=width, folder=folder if folder.is_dir() else None),
        window=model.max_model_len,
        devices=tuple(devices),
        tensor_parallel=parallel.tensor_parallel_size,
        pipeline_parallel=parallel.pipeline_parallel_size,
        splits_vision=model.multimodal_config.mm_encoder_tp_mode == "weights",
        width=width,
        cache_width=1 if "8" in cache_dtype else width,  # fp8 and int8 in all their kinds
        batched_tokens=config.scheduler_config.max_num_batched_tokens,
        sequences=config.scheduler_config.max_num_seqs,
        tokens_per_tile=read_checkpoint(model.hf_config, model.hf_image_processor_config).tokens_per_tile,
        adapter_ranks=lora.max_loras * lora.max_lora_rank if lora else 0,
        cache_bytes=config.cache_config.kv_cache_memory_bytes,
        share=config.cache_config.gpu_memory_utilization if "gpu_memory_utilization" in chosen else None,
    )


def share_memory(
    cards: Mapping[int, int], plans: Sequence[EnginePlan], configs: Iterable[VllmConfig]
) -> None:
    """Write each engine's share of its GPUs' memory into its configuration.

    Raises as `memory_shares` does.
    """
    for plan, config, share in zip(plans, configs, memory_shares(cards, plans), strict=True):
        config.cache_config.gpu_memory_utilization = share
        gpus = ", ".join(str(device) for device in plan.devices)
        logger.info("the %s gets %.1f %% of the memory of GPU %s", plan.title, share * 100, gpus)


def share_gpus(plans: Sequence[EnginePlan]) -> bool:
    """Return whether two engines run on the same GPU, so that they must start one after the other."""
    devices = [device for plan in plans for device in set(plan.devices)]
    return len(set(devices)) < len(devices)
