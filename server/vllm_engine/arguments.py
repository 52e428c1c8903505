"""vLLM's command-line arguments and configuration for each engine, before any of them starts."""

import os
from argparse import Namespace
from collections.abc import Sequence

from vllm import AsyncEngineArgs
from vllm.config import VllmConfig
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.transformers_utils.config import get_config
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser

from model.checkpoint.description import require_v2pe
from model.plugin.grammars import GRAMMARS
from server.errors import StartupError
from server.settings import Settings
from server.telemetry.logs import error_line

from .engine_flags import EngineRole, engine_flags
from .operator_flags import STRUCTURED_OUTPUTS, operator_flag_names


def engine_arguments(roles: Sequence[EngineRole], settings: Settings, *, cpu: bool) -> list[Namespace]:
    """Return vLLM's arguments for each engine. Raises StartupError if the operator's flags are not vLLM's."""
    parser = make_arg_parser(FlexibleArgumentParser())
    return [_parsed(parser, role, _flags(role, settings, cpu=cpu)) for role in roles]


def _flags(role: EngineRole, settings: Settings, *, cpu: bool) -> list[str]:
    config = get_config(role.path, trust_remote_code=False)
    require_v2pe(config)
    return engine_flags(
        role,
        settings,
        own_dtype=str(config.dtype).removeprefix("torch."),
        backbone=config.get_text_config().model_type,
        cpu=cpu,
    )


def _parsed(parser: FlexibleArgumentParser, role: EngineRole, flags: Sequence[str]) -> Namespace:
    try:
        parsed: Namespace = parser.parse_args(flags)
    except SystemExit:  # argparse has printed what is wrong
        raise StartupError(
            f"--{role.title}-args: {role.extra!r} are not flags of vLLM; see vllm serve --help"
        ) from None
    if parsed.tensor_parallel_size * parsed.pipeline_parallel_size > 1:
        if parsed.distributed_executor_backend == "uni":  # our flag for a CPU, but ranks need processes
            parsed.distributed_executor_backend = "mp"
        # On a CPU each rank would be pinned to another memory node, and few machines have so many.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    return parsed


def engine_config(role: EngineRole, args: Namespace) -> VllmConfig:
    """Return vLLM's configuration for an engine. Raises StartupError if vLLM can't make one."""
    try:
        config = AsyncEngineArgs.from_cli_args(args).create_engine_config(UsageContext.OPENAI_API_SERVER)
    except Exception as error:
        raise StartupError(f"the {role.title} {role.path} did not start: {error_line(error)}") from error
    # vLLM's own setting for this needs a fixed backend, and no backend knows all grammars.
    config.additional_config[GRAMMARS] = STRUCTURED_OUTPUTS not in operator_flag_names(role.title, role.extra)
    return config
