"""The engines to start, and vLLM's flags for each."""

import json
import shlex
from dataclasses import dataclass

from model.plugin.architectures import CRITIC
from server.settings import Settings


@dataclass(frozen=True, kw_only=True)
class EngineRole:
    """One engine to start."""

    title: str  # "policy" or "critic", for the operator
    path: str
    name: str  # the model's name in replies and metrics
    extra: str  # the operator's own vLLM flags; they win
    judges: bool = False  # its labels are read, nothing is generated


def engine_roles(settings: Settings) -> list[EngineRole]:
    """The policy, and the critic where there is one."""
    policy = EngineRole(
        title="policy", path=settings.policy_path, name=settings.served_name, extra=settings.policy_args
    )
    if settings.critic_path is None:
        return [policy]
    critic = EngineRole(
        title="critic",
        path=settings.critic_path,
        name=settings.critic_name,
        extra=settings.critic_args,
        judges=True,
    )
    return [policy, critic]


def engine_flags(
    role: EngineRole, settings: Settings, *, own_dtype: str, window: int, engines: int, cpu: bool
) -> list[str]:
    """vLLM's command line for one of `engines` engines, as `vllm serve` would take it.

    `own_dtype` is the checkpoint's.
    """
    dtype: str = settings.dtype
    if role.judges and dtype == "auto" and own_dtype == "float32":
        # vLLM would make float16 of it, as of embedding models: a CPU has no fast kernels for that, and
        # activations of Qwen2's can be too large for it.
        dtype = "float32" if cpu else "bfloat16"
    flags = {
        "--model": role.path,
        "--served-model-name": role.name,
        "--dtype": dtype,
        "--max-model-len": str(window),
        "--limit-mm-per-prompt": json.dumps({"image": settings.max_images, "video": settings.max_videos}),
        "--fingerprint-mode": "none",  # it would tell strangers versions and set-up
    }
    if role.judges:
        flags |= {"--runner": "pooling", "--hf-overrides": json.dumps({"architectures": [CRITIC]})}
    tiles = {
        "max_dynamic_patch": settings.max_tiles,
        "max_dynamic_patch_total": settings.max_total_tiles,
    }
    if limits := {name: most for name, most in tiles.items() if most is not None}:
        flags["--mm-processor-kwargs"] = json.dumps(limits)
    switches = ["--enable-prefix-caching", "--trust-request-mm-kwargs", "--enable-prompt-tokens-details"]
    if settings.log_level in ("error", "warning"):
        switches.append("--no-use-tqdm-on-load")
    if cpu:
        # One process per engine, no core pinned (both engines would be pinned to the same one), nothing
        # compiled.
        flags |= {
            "--distributed-executor-backend": "uni",
            "--block-size": "32",
            "--kv-cache-memory-bytes": str(settings.kv_cache_gib * 2**30),
            "--mm-processor-cache-gb": "1",  # each; 512 frames of a published size have 0.3
        }
        switches.append("--enforce-eager")
    else:
        flags["--gpu-memory-utilization"] = str(round(0.9 / engines, 3))
    return [part for pair in flags.items() for part in pair] + switches + shlex.split(role.extra)
