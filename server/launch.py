"""Start the server from its settings, or end with one line and exit status 1 if it can't start."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import uvicorn

from server.http.app import create_app
from server.http.connections import limited_protocol
from server.http.drain import GRACE_SECONDS, DrainingServer
from server.telemetry import logs

from .engine_interface import Engines
from .errors import EngineDied, StartupError
from .setting_sources import unknown_variables
from .settings import Settings

logger = logging.getLogger("internvl3.server")
MAX_HEADER_BYTES = 64 * 1024


class Stopped(BaseException):
    """A signal has stopped the process; `status` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def run(settings: Settings) -> int:
    """Serve until the process is stopped, and return its exit status. Raises Stopped after SIGTERM."""
    try:
        listener = _listen(settings)
    except OSError as error:
        return _refuse(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}; set --host or --port"
        )
    # uvicorn shuts down gracefully on SIGTERM and then raises the signal again. The handler turns it into an
    # exception, so that the context managers below close their resources.
    signal.signal(signal.SIGTERM, _leave)
    with listener, TemporaryDirectory(prefix="internvl3-") as folder:
        reasons = logs.configure(Path(folder), settings.log_level)
        for line in unknown_variables(os.environ):
            logger.warning(line)
        if settings.log_level != "debug":  # an operator can't act on deprecation warnings from torch or vLLM
            warnings.simplefilter("ignore")
            os.environ.setdefault("PYTHONWARNINGS", "ignore")
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # This process has threads, so forking it isn't safe.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        failure = _serve(settings, listener, reasons)
        if failure is None:
            return 0
        if isinstance(failure, EngineDied):
            return _refuse(f"{failure}: {_first_line(reasons) or failure.without_reason}")
        return _refuse(str(failure) if isinstance(failure, StartupError) else logs.error_line(failure))


def end_at_once(status: int) -> NoReturn:
    """End this process and its children without Python's own end.

    That would take up to ten seconds to free all that torch and vLLM have built. If an engine was killed, it
    would never end, because vLLM waits there for the engine.
    """
    for process in multiprocessing.active_children():
        process.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(settings: Settings, listener: socket.socket, reasons: Path) -> Exception | None:
    """Run the server until it stops. Return the error if its engines could not start, else None.

    The engines collect what they fail on in the file `reasons`.
    """
    url = _url(settings, listener)
    models = _models(settings)

    def report_start(failure: Exception | None) -> None:
        if failure is None:
            logs.engines_started(reasons)
            logger.info("ready: %s on %s/v1", models, url)
        else:
            server.should_exit = True

    try:
        check_models(settings)
        app = create_app(settings, partial(_start, settings), report_start)
    except StartupError as error:  # settings contradict each other, or the API keys can't be used
        return error
    metrics = app.state.service.context.metrics
    server = DrainingServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=limited_protocol(
                head_seconds=settings.head_seconds,
                write_seconds=settings.write_seconds,
                max_connections=settings.max_connections,
                count_closed=lambda reason: metrics.connections_closed.labels(reason).inc(),
            ),
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        app.state.running,
        delay=settings.drain_delay,
        drain_seconds=settings.drain_seconds,
    )
    source = settings.policy_path if settings.has_policy else settings.critic_path
    logger.info("loading %s from %s; probes answer on %s", models, source, url)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        logger.info("stopped")
    failure: Exception | None = app.state.service.context.failure
    return failure


def check_models(settings: Settings) -> None:
    """Raise StartupError if policy and critic contradict each other, or if a setting would have no effect."""
    without_effect = {}
    if not settings.has_policy:
        if settings.critic_url is not None:
            raise StartupError("--policy none serves a critic of its own: leave --critic-url out")
        if settings.critic_path is None:
            raise StartupError("--policy none serves a critic alone: name its checkpoint with --critic")
        without_effect = dict.fromkeys(("adapters", "policy_args", "name", "system_message"), "--policy none")
    if settings.critic_url is not None:
        if settings.critic is not None:
            raise StartupError("--critic and --critic-url exclude each other: give one of them")
        without_effect = dict.fromkeys(("critic_args", "critic_system_message"), "--critic-url")
    elif settings.critic_key is not None:
        without_effect |= {"critic_key": "a critic of its own"}
    for name, cause in without_effect.items():
        if getattr(settings, name) != type(settings).model_fields[name].get_default():
            flag = name.replace("_", "-")
            raise StartupError(f"--{flag} has no effect with {cause}: leave it out")


def _models(settings: Settings) -> str:
    """Return the models of a server for its log."""
    if not settings.has_policy:
        return f"critic {settings.critic_name}, without a policy"
    if settings.critic_url is not None:
        return f"{settings.served_name} with the critic of {urlsplit(settings.critic_url).netloc}"
    if settings.critic_path is None:
        return f"{settings.served_name}, without a critic"
    return f"{settings.served_name} with critic {settings.critic_name}"


async def _start(settings: Settings) -> Engines:
    """Start the engines. A thread imports vLLM for ten seconds, so that the probes answer meanwhile."""
    module = await asyncio.to_thread(import_module, "server.vllm_engine.start")
    engines: Engines = await module.start(settings)
    return engines


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


def _url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _leave(number: int, frame: FrameType | None) -> None:
    raise Stopped(0)


def _first_line(reasons: Path) -> str | None:
    lines = reasons.read_text().splitlines() if reasons.exists() else []
    return lines[0] if lines else None


def _refuse(line: str) -> int:
    print(f"internvl3: {line}", file=sys.stderr, flush=True)
    return 1
