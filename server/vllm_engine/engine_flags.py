"""The engines that the server starts, and vLLM's flags for each of them."""

import json
import shlex
from dataclasses import dataclass, field

from model.plugin.architectures import CRITIC
from server.settings import Settings

from .adapters import AdapterRoom, adapter_flags, adapter_room


@dataclass(frozen=True, kw_only=True)
class EngineRole:
    """One engine to start: the policy or the critic."""

    title: str  # "policy" or "critic", for messages to the operator
    path: str
    name: str  # the model's name in replies and metrics
    extra: str  # the operator's vLLM flags; they win over the server's
    adapters: AdapterRoom = field(default_factory=AdapterRoom)
    judges: bool = False  # the critic: vLLM returns its labels' logits and generates no text


def engine_roles(settings: Settings) -> list[EngineRole]:
    """Return the roles of the policy and of the critic, as far as this server runs them itself."""
    policy = EngineRole(
        title="policy",
        path=settings.policy_path,
        name=settings.served_name,
        extra=settings.policy_args,
        adapters=adapter_room(settings),
    )
    policies = [policy] if settings.has_policy else []
    if settings.critic_path is None:
        return policies
    critic = EngineRole(
        title="critic",
        path=settings.critic_path,
        name=settings.critic_name,
        extra=settings.critic_args,
        judges=True,
    )
    return [*policies, critic]


def engine_flags(
    role: EngineRole,
    settings: Settings,
    *,
    own_dtype: str,
    backbone: str,
    cpu: bool,
) -> list[str]:
    """Return the command line for one engine, with the flags of `vllm serve`.

    Args:
        role: the engine.
        settings: the server's settings.
        own_dtype: the dtype that the checkpoint's config names, like "float32".
        backbone: the model type of the language model, like "qwen2".
        cpu: whether vLLM runs on a CPU.

    Raises StartupError if an adapter can't be used.
    """
    dtype: str = settings.dtype
    if role.judges and dtype == "auto" and own_dtype == "float32":
        # vLLM would choose float16, as it does for embedding models. But a CPU has no fast kernels for
        # float16, and activations of Qwen2 can overflow it.
        dtype = "float32" if cpu else "bfloat16"
    flags = {
        "--model": role.path,
        "--served-model-name": role.name,
        "--dtype": dtype,
        "--limit-mm-per-prompt": json.dumps({"image": settings.max_images, "video": settings.max_videos}),
        "--scheduling-policy": "priority",  # so that the lines of batches wait for all other requests
        "--fingerprint-mode": "none",  # a fingerprint would show strangers the versions and the set-up
    }
    if settings.max_model_len is not None:
        flags["--max-model-len"] = str(settings.max_model_len)
    if role.judges:
        flags |= {"--runner": "pooling", "--hf-overrides": json.dumps({"architectures": [CRITIC]})}
    tiles = {
        "max_dynamic_patch": settings.max_tiles,
        "max_dynamic_patch_total": settings.max_total_tiles,
    }
    if limits := {name: limit for name, limit in tiles.items() if limit is not None}:
        flags["--mm-processor-kwargs"] = json.dumps(limits)
    switches = ["--enable-prefix-caching", "--trust-request-mm-kwargs", "--enable-prompt-tokens-details"]
    if not role.judges and backbone.startswith("qwen"):
        # Qwen's models write tool calls as Hermes' do. So tools work without a flag of the operator's.
        flags["--tool-call-parser"] = "hermes"
        switches.append("--enable-auto-tool-choice")
    if settings.log_level in ("error", "warning"):
        switches.append("--no-use-tqdm-on-load")
    if cpu:
        # Each engine runs in one process and compiles nothing. No core is pinned, because both engines would
        # be pinned to the same one.
        flags |= {
            "--distributed-executor-backend": "uni",
            "--block-size": "32",
            "--kv-cache-memory-bytes": str(settings.kv_cache_gib * 2**30),
            "--mm-processor-cache-gb": "1",  # per engine; 512 frames of a published model take 0.3 GB
        }
        switches.append("--enforce-eager")
    switches += adapter_flags(role.adapters, cpu=cpu)
    return [part for pair in flags.items() for part in pair] + switches + shlex.split(role.extra)
