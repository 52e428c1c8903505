"""Starting the engines: their flags, their processes, and the checks without which they must not serve.

Policy and critic start at the same time, each in a process of its own: two engines in one process share
vLLM's global state, and shutting one down breaks the other.
"""

import asyncio
import multiprocessing
import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import State
from vllm import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.platforms import current_platform
from vllm.transformers_utils.config import get_config
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import PrometheusStatLogger

from model.preflight import require_tensors
from model.register import PluginError, require_plugin

from .critic import StepCritic
from .engine import Engine
from .engine_vllm import INLINE_ONLY, VllmEngine, label_ids, read_labels
from .errors import EngineDied, StartupError
from .logs import reason
from .metrics import render
from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Role:
    """One engine to start."""

    title: str  # "policy" or "critic", for the operator
    path: str
    name: str  # the model's name in replies and metrics
    extra: str  # the operator's own vLLM flags; they win


@dataclass(frozen=True, kw_only=True)
class Running:
    """One engine that runs: its client, vLLM's handlers, and its metrics."""

    client: AsyncLLM
    handlers: State
    registry: CollectorRegistry


async def start(settings: Settings) -> Engine:
    """Both engines, ready; raises StartupError, whose message is one line for the operator."""
    roles = engine_roles(settings)
    try:
        arguments = await asyncio.to_thread(_prepare, roles, settings)
    except (PluginError, ValueError, OSError) as error:
        raise StartupError(str(error)) from error
    try:
        built = await asyncio.gather(
            *(asyncio.to_thread(_build, *pair) for pair in zip(roles, arguments, strict=True)),
            return_exceptions=True,
        )
    except asyncio.CancelledError:  # told to stop meanwhile: the threads wait for these
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    failures = [outcome for outcome in built if isinstance(outcome, BaseException)]
    if failures:
        for outcome in built:
            if isinstance(outcome, Running):
                outcome.client.shutdown()
        raise failures[0]
    running = [outcome for outcome in built if isinstance(outcome, Running)]
    for one, args in zip(running, arguments, strict=True):
        await one.client.reset_mm_cache()
        await init_app_state(one.client, one.handlers, args, await one.client.get_supported_tasks())
    return _engine(roles, running)


def engine_roles(settings: Settings) -> list[Role]:
    """The policy, and the critic where there is one."""
    policy = Role(
        title="policy", path=settings.policy_path, name=settings.served_name, extra=settings.policy_args
    )
    if settings.critic_path is None:
        return [policy]
    critic = Role(
        title="critic", path=settings.critic_path, name=settings.critic_name, extra=settings.critic_args
    )
    return [policy, critic]


def engine_flags(role: Role, settings: Settings, *, window: int, engines: int, cpu: bool) -> list[str]:
    """vLLM's command line for one of `engines` engines, as `vllm serve` would take it."""
    flags = {
        "--model": role.path,
        "--served-model-name": role.name,
        "--dtype": settings.dtype,
        "--max-model-len": str(window),
        "--limit-mm-per-prompt": f'{{"image": {settings.max_images}}}',
        "--fingerprint-mode": "none",  # it would tell strangers versions and set-up
    }
    if settings.max_tiles is not None:
        flags["--mm-processor-kwargs"] = f'{{"max_dynamic_patch": {settings.max_tiles}}}'
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
        }
        switches.append("--enforce-eager")
    else:
        flags["--gpu-memory-utilization"] = str(round(0.9 / engines, 3))
    return [part for pair in flags.items() for part in pair] + switches + shlex.split(role.extra)


def _prepare(roles: Sequence[Role], settings: Settings) -> list[Namespace]:
    """Everything that can be refused before a process is started; the engines' arguments."""
    require_plugin()
    for role in roles:
        folder = Path(role.path)
        if folder.is_dir():
            require_tensors(folder)
        elif folder.is_absolute():  # else a name on the hub, which the engine loads and checks itself
            raise StartupError(f"there is no {role.title} checkpoint in {folder}")
    os.environ["VLLM_MEDIA_CONNECTOR"] = INLINE_ONLY
    cpu = current_platform.is_cpu()
    if cpu:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # lets "uni" stand on a CPU
        os.environ.setdefault(
            "TORCH_COMPILE_DISABLE", "1"
        )  # eager: saves a pause of seconds at the first request
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // len(roles))))
    parser = make_arg_parser(FlexibleArgumentParser())
    return [
        _parsed(
            parser,
            role,
            engine_flags(role, settings, window=_window(role, settings), engines=len(roles), cpu=cpu),
        )
        for role in roles
    ]


def _window(role: Role, settings: Settings) -> int:
    """Tokens an engine takes at most. Left alone it would take a million: V2PE packs more of them into the
    window.
    """
    if settings.max_model_len is not None:
        return settings.max_model_len
    positions: int = get_config(role.path, trust_remote_code=False).get_text_config().max_position_embeddings
    return positions


def _parsed(parser: FlexibleArgumentParser, role: Role, flags: Sequence[str]) -> Namespace:
    try:
        parsed: Namespace = parser.parse_args(flags)
    except SystemExit:  # argparse has printed what is wrong
        raise StartupError(f"--{role.title}-args: {role.extra!r} are not flags of vLLM") from None
    return parsed


def _build(role: Role, args: Namespace) -> Running:
    """Starts one engine and waits until its model is loaded; blocks for tens of seconds."""
    registry = CollectorRegistry()
    try:
        config = AsyncEngineArgs.from_cli_args(args).create_engine_config(UsageContext.OPENAI_API_SERVER)
        client = AsyncLLM.from_vllm_config(
            config, usage_context=UsageContext.OPENAI_API_SERVER, stat_loggers=[_stats_in(registry)]
        )
    except Exception as error:
        line = f"the {role.title} {role.path} did not start"
        if "core initialization failed" in str(error):
            raise EngineDied(line) from error
        raise StartupError(f"{line}: {reason(error)}") from error
    return Running(client=client, handlers=State(), registry=registry)


def _engine(roles: Sequence[Role], running: Sequence[Running]) -> Engine:
    policy, *rest = running
    critic = None
    if rest:
        renderer = rest[0].handlers.online_renderer
        try:
            labels = label_ids(renderer)
        except ValueError as error:
            raise StartupError(str(error)) from error
        critic = StepCritic(roles[1].name, partial(read_labels, rest[0].client, renderer, labels))
    return VllmEngine(
        policy.handlers.openai_serving_chat,
        critic,
        [one.client for one in running],
        partial(render, [one.registry for one in running]),
    )


def _stats_in(registry: CollectorRegistry) -> type[PrometheusStatLogger]:
    """vLLM's Prometheus metrics in a registry of their own: in the global one a second engine replaces the
    first's.
    """

    class Stats(PrometheusStatLogger):
        _gauge_cls = staticmethod(partial(Gauge, registry=registry))
        _counter_cls = staticmethod(partial(Counter, registry=registry))
        _histogram_cls = staticmethod(partial(Histogram, registry=registry))

    return Stats
