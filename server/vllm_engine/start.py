"""Start the engines of the policy and the critic, and build what requests use.

Policy and critic have a process each. Two engines in one process would share vLLM's global state, and
shutting one down would break the other.
"""

import asyncio
import logging
import multiprocessing
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from server.engine_interface import Engines
from server.errors import EngineDied, StartupError
from server.remote_critic.connection import CriticConnection
from server.remote_critic.engine import RemoteCriticEngine
from server.settings import Settings
from server.telemetry.logs import error_line
from server.telemetry.metrics import render
from server.vllm_engine.critic.engine import VllmCritic
from server.vllm_engine.critic.label_reader import PoolingReader, find_label_slot
from server.vllm_engine.critic.step_critic import StepCritic
from server.vllm_engine.policy.chat_run import PolicySettings

from .conversation_format import set_conversation_format
from .engine import VllmPolicy
from .engine_flags import EngineRole, engine_roles
from .grammars.checker import GrammarChecker
from .grammars.compiler import grammar_settings
from .internals.engine_client import engine_processes, stat_logger_for
from .internals.step_counter import StepCounter
from .loaded_adapters import LoadedAdapters
from .media_cache import change_in_media_thread
from .policy_metrics import PolicyMetrics
from .preparation import Preparation, prepare
from .setup import engine_setup, system_message
from .silent_end import silent_end
from .start_order import build_all
from .text_rules import set_text_rules
from .token_accounts import TokenAccounts

logger = logging.getLogger("internvl3.engine")


@dataclass(frozen=True, kw_only=True)
class StartedEngine:
    """One running engine: its client, vLLM's handlers, and its metrics."""

    role: EngineRole
    client: AsyncLLM
    checkpoint: Checkpoint
    registry: CollectorRegistry
    handlers: State = field(default_factory=State)
    setup: dict[str, Any] = field(default_factory=dict)  # see `engine_setup`


async def start(settings: Settings) -> Engines:
    """Start all engines and return them ready for requests.

    Raises:
        StartupError: an engine can't start. The message is one line for the operator.
    """
    if not settings.has_policy:
        return await _start(settings, None)
    grammars = GrammarChecker()
    grammars.start()  # beside the engines, because both import vLLM for seconds
    try:
        return await _start(settings, grammars)
    except BaseException:
        grammars.close()
        raise


async def _start(settings: Settings, grammars: GrammarChecker | None) -> Engines:
    """Start the engines; `grammars` checks the policy's, and is None if there is no policy."""
    roles = engine_roles(settings)
    try:
        prepared = await asyncio.to_thread(prepare, roles, settings)
    except (PluginError, ValueError, OSError) as error:
        raise StartupError(str(error)) from error
    connection = None if settings.critic_url is None else await CriticConnection.open(settings)
    started = dict(zip((role.title for role in roles), await _started(roles, prepared), strict=True))
    for role, args in zip(roles, prepared.arguments, strict=True):
        await _make_ready(role, started[role.title], args, settings)
    policy, critic = started.get("policy"), started.get("critic")
    remote = None
    if policy is not None and connection is not None:
        remote = RemoteCriticEngine(connection, settings, policy_delta=policy.checkpoint.v2pe_delta)
    if policy is not None and grammars is not None:
        grammars.configure(grammar_settings(policy.client, settings.grammar_seconds))
    scorer = None if critic is None else await _critic(critic, policy, settings)
    if grammars is not None:
        await grammars.ready()
    clients = [engine.client for engine in started.values()]

    async def close() -> None:
        if grammars is not None:
            grammars.close()
        if remote is not None:
            await remote.close()
        # vLLM gives each process five seconds and then kills it, so the engines stop side by side.
        await asyncio.gather(*(asyncio.to_thread(client.shutdown) for client in clients))

    first = next(iter(started.values()))
    return Engines(
        policy=None if policy is None or grammars is None else _policy(policy, grammars, settings),
        critic=remote or scorer,
        tiling=first.checkpoint.tiling,
        max_model_len=first.client.model_config.max_model_len,
        metrics=partial(render, [engine.registry for engine in started.values()]),
        close=close,
        steps={title: StepCounter(engine.client) for title, engine in started.items()},
    )


async def _started(roles: Sequence[EngineRole], prepared: Preparation) -> Sequence[StartedEngine]:
    """Start the engines of all roles, or none."""
    try:
        builds = [partial(_build, *pair) for pair in zip(roles, prepared.configs, strict=True)]
        outcomes = await build_all(builds, side_by_side=prepared.side_by_side)
    except asyncio.CancelledError:  # the server is stopping, and the threads wait for these processes
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    running = [outcome for outcome in outcomes if isinstance(outcome, StartedEngine)]
    if failures:
        for engine in running:
            engine.client.shutdown()
        raise failures[0]
    return running


async def _make_ready(role: EngineRole, engine: StartedEngine, args: Namespace, settings: Settings) -> None:
    """Give a running engine our rules for texts and media, vLLM's handlers, and the setup that it states."""
    await engine.client.reset_mm_cache()
    change_in_media_thread(engine.client.renderer)
    set_text_rules(engine.client.renderer, role, trusting=settings.trust_special_tokens)
    set_conversation_format(
        args, engine.checkpoint, engine.client.renderer.get_tokenizer(), engine.client.model_config
    )
    await init_app_state(engine.client, engine.handlers, args, await engine.client.get_supported_tasks())
    setup = await asyncio.to_thread(
        engine_setup, role, engine.client.model_config, engine.checkpoint, settings, args.chat_template
    )
    engine.setup.update(setup)


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
    for process in engine_processes(client):
        logger.info("%s runs in process %d", role.title, process.pid)
    model = client.model_config
    return StartedEngine(
        role=role,
        client=client,
        checkpoint=read_checkpoint(model.hf_config, model.hf_image_processor_config),
        registry=registry,
    )


async def _critic(running: StartedEngine, policy: StartedEngine | None, settings: Settings) -> VllmCritic:
    """Return the critic of a running engine; `policy` is None if the server has none."""
    if CRITIC_TASK not in await running.client.get_supported_tasks():
        raise StartupError(
            "--critic-args: the server sets --runner, --convert and architectures itself; remove them"
        )
    renderer = running.handlers.online_renderer
    try:
        slot = await find_label_slot(renderer)
    except ValueError as error:
        raise StartupError(str(error)) from error
    own_delta = running.checkpoint.v2pe_delta
    step_critic = StepCritic(
        running.role.name,
        PoolingReader(running.client, renderer, slot, window=running.checkpoint.window),
        system=system_message(running.role, running.checkpoint, settings),
        seconds=settings.critic_seconds,
        max_steps=settings.max_answer_steps,
        follows_request=settings.critic_delta == "request",
        policy_delta=own_delta if policy is None else policy.checkpoint.v2pe_delta,
        own_delta=own_delta,
    )
    return VllmCritic(step_critic, running.client, running.checkpoint, running.setup)


def _policy(running: StartedEngine, grammars: GrammarChecker, settings: Settings) -> VllmPolicy:
    policy_settings = PolicySettings(
        checkpoint=running.checkpoint,
        system_message=system_message(running.role, running.checkpoint, settings),
        grammars=grammars,
        accounts=TokenAccounts(running.client),
        metrics=PolicyMetrics(running.registry),
        cut_max_tokens=settings.cut_max_tokens,
    )
    return VllmPolicy(
        running.handlers.openai_serving_chat,
        running.handlers.openai_serving_completion,
        running.handlers.anthropic_serving_messages,
        running.handlers.serving_tokenization,
        policy_settings,
        running.client,
        running.setup,
        LoadedAdapters(
            running.handlers.openai_serving_models,
            running.client,
            running.role.adapters,
            digests=running.setup["adapters"],
        ),
    )
