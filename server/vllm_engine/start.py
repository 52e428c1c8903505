"""Start the engines of the policy and the critic, and build the Engine.

Policy and critic have a process each. Two engines in one process would share vLLM's global state, and
shutting one down would break the other.
"""

import asyncio
import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.datastructures import State
from vllm.config import VllmConfig
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM

from model.checkpoint.description import Checkpoint, read_checkpoint
from model.plugin.architectures import CRITIC_TASK
from model.plugin.register import PluginError
from server.engine_interface import Engine
from server.errors import EngineDied, StartupError
from server.settings import Settings
from server.telemetry.logs import error_line
from server.telemetry.metrics import render
from server.vllm_engine.critic.label_reader import PoolingReader, find_label_slot
from server.vllm_engine.critic.step_critic import StepCritic
from server.vllm_engine.policy.chat_run import PolicySettings

from .conversation_format import set_conversation_format
from .engine import VllmEngine
from .engine_flags import EngineRole, engine_roles
from .grammars.checker import GrammarChecker
from .grammars.compiler import grammar_settings
from .media_cache import change_in_media_thread
from .preparation import prepare
from .setup import server_setup, system_message
from .silent_end import silent_end
from .start_order import build_all
from .stat_logger import stat_logger_for
from .text_rules import set_text_rules
from .token_accounts import TokenAccounts

logger = logging.getLogger("internvl3.engine")


@dataclass(frozen=True, kw_only=True)
class StartedEngine:
    """One running engine: its client, vLLM's handlers, and its metrics."""

    client: AsyncLLM
    checkpoint: Checkpoint
    handlers: State
    registry: CollectorRegistry


async def start(settings: Settings) -> Engine:
    """Start all engines and return them ready for requests.

    Raises:
        StartupError: an engine can't start. The message is one line for the operator.
    """
    grammars = GrammarChecker()
    grammars.start()  # beside the engines, because both import vLLM for seconds
    try:
        return await _start(settings, grammars)
    except BaseException:
        grammars.close()
        raise


async def _start(settings: Settings, grammars: GrammarChecker) -> Engine:
    roles = engine_roles(settings)
    try:
        prepared = await asyncio.to_thread(prepare, roles, settings)
    except (PluginError, ValueError, OSError) as error:
        raise StartupError(str(error)) from error
    try:
        builds = [partial(_build, *pair) for pair in zip(roles, prepared.configs, strict=True)]
        outcomes = await build_all(builds, side_by_side=prepared.side_by_side)
    except asyncio.CancelledError:  # the server is stopping, and the threads wait for these processes
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        for outcome in outcomes:
            if isinstance(outcome, StartedEngine):
                outcome.client.shutdown()
        raise failures[0]
    running = [outcome for outcome in outcomes if isinstance(outcome, StartedEngine)]
    for role, engine, args in zip(roles, running, prepared.arguments, strict=True):
        await engine.client.reset_mm_cache()
        change_in_media_thread(engine.client.renderer)
        set_text_rules(engine.client.renderer, role, trusting=settings.trust_special_tokens)
        set_conversation_format(
            args, engine.checkpoint, engine.client.renderer.get_tokenizer(), engine.client.model_config
        )
        await init_app_state(engine.client, engine.handlers, args, await engine.client.get_supported_tasks())
    grammars.configure(grammar_settings(running[0].client, settings.grammar_seconds))
    critics = [
        await _critic(role, engine, running[0], settings)
        for role, engine in zip(roles, running, strict=True)
        if role.judges
    ]
    await grammars.ready()
    models = [(engine.client.model_config, engine.checkpoint) for engine in running]
    templates = [args.chat_template for args in prepared.arguments]
    setup = await asyncio.to_thread(server_setup, roles, models, templates, settings)
    return _engine_of(roles, running, critics[0] if critics else None, grammars, settings, setup)


def _build(role: EngineRole, config: VllmConfig) -> StartedEngine:
    """Start one engine and wait until its model is loaded. This blocks for tens of seconds."""
    registry = CollectorRegistry()
    try:
        client = AsyncLLM.from_vllm_config(
            config,
            usage_context=UsageContext.OPENAI_API_SERVER,
            stat_loggers=[stat_logger_for(registry)],
        )
    except Exception as error:
        line = f"the {role.title} {role.path} did not start"
        if "core initialization failed" in str(error):
            raise EngineDied(line, without_reason=silent_end(str(error))) from error
        raise StartupError(f"{line}: {error_line(error)}") from error
    for process in client.engine_core.resources.engine_manager.processes:
        logger.info("%s runs in process %d", role.title, process.pid)
    model = client.model_config
    return StartedEngine(
        client=client,
        checkpoint=read_checkpoint(model.hf_config, model.hf_image_processor_config),
        handlers=State(),
        registry=registry,
    )


async def _critic(
    role: EngineRole, running: StartedEngine, policy: StartedEngine, settings: Settings
) -> StepCritic:
    if CRITIC_TASK not in await running.client.get_supported_tasks():
        raise StartupError(
            "--critic-args: the server sets --runner, --convert and architectures itself; remove them"
        )
    renderer = running.handlers.online_renderer
    try:
        slot = await find_label_slot(renderer)
    except ValueError as error:
        raise StartupError(str(error)) from error
    reader = PoolingReader(running.client, renderer, slot, window=running.checkpoint.window)
    return StepCritic(
        role.name,
        reader,
        system=system_message(role, running.checkpoint, settings),
        seconds=settings.critic_seconds,
        max_steps=settings.max_answer_steps,
        follows_request=settings.critic_delta == "request",
        policy_delta=policy.checkpoint.v2pe_delta,
        own_delta=running.checkpoint.v2pe_delta,
    )


def _engine_of(
    roles: Sequence[EngineRole],
    running: Sequence[StartedEngine],
    critic: StepCritic | None,
    grammars: GrammarChecker,
    settings: Settings,
    setup: Mapping[str, Any],
) -> Engine:
    policy, *critics = running
    policy_settings = PolicySettings(
        checkpoint=policy.checkpoint,
        system_message=system_message(roles[0], policy.checkpoint, settings),
        critic_shares_tiles=all(
            engine.checkpoint.tiling.tile_size == policy.checkpoint.tiling.tile_size for engine in critics
        ),
        grammars=grammars,
        accounts=TokenAccounts(policy.client),
        cut_max_tokens=settings.cut_max_tokens,
    )
    return VllmEngine(
        policy.handlers.openai_serving_chat,
        policy.handlers.serving_tokenization,
        policy_settings,
        critic,
        [engine.client for engine in running],
        partial(render, [engine.registry for engine in running]),
        setup,
    )
