"""Start the server from its settings, or end with one line and exit status 1 if it can't start."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import uvicorn

from model import start_phases
from server.http.app import create_app
from server.http.connections import limited_protocol
from server.http.drain import GRACE_SECONDS, DrainingServer
from server.http.metrics_port import ServerBeside, create_metrics_app
from server.http.tls import check_tls_files
from server.services.service import Service
from server.telemetry import logs

from .engine_interface import Engines
from .errors import EngineDied, StartupError
from .listeners import Listeners, open_listeners
from .model_rules import check_models, engine_titles, models_text
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
        if settings.tls_cert is not None and settings.tls_key is not None:
            check_tls_files(settings.tls_cert, settings.tls_key)
        listeners = open_listeners(settings)
    except StartupError as error:
        return _refuse(str(error))
    # uvicorn shuts down gracefully on SIGTERM and then raises the signal again. The handler turns it into an
    # exception, so that the context managers below close their resources.
    signal.signal(signal.SIGTERM, _leave)
    with listeners, TemporaryDirectory(prefix="internvl3-") as folder:
        reasons = logs.configure(Path(folder), settings.log_level, settings.log_format)
        for line in unknown_variables(os.environ):
            logger.warning(line)
        if settings.log_level != "debug":  # an operator can't act on deprecation warnings from torch or vLLM
            warnings.simplefilter("ignore")
            os.environ.setdefault("PYTHONWARNINGS", "ignore")
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # This process has threads, so forking it isn't safe.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        phases = Path(folder, "phases")
        phases.mkdir()
        os.environ[start_phases.FOLDER] = str(phases)
        failure = _serve(settings, listeners, reasons, phases)
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


def _serve(settings: Settings, listeners: Listeners, reasons: Path, phases: Path) -> Exception | None:
    """Run the server until it stops. Return the error if its engines could not start, else None.

    The engines collect what they fail on in the file `reasons`, and how far they are in the folder `phases`.
    """
    models = models_text(settings)

    def report_start(failure: Exception | None) -> None:
        if failure is None:
            # What was made until now stays. Looking through it for garbage would stop the server for half a
            # second each time.
            gc.collect()
            gc.freeze()
            logs.engines_started(reasons)
            logger.info("ready: %s on %s/v1", models, listeners.url)
        else:
            server.should_exit = True

    try:
        check_models(settings)
        read = partial(start_phases.read_phases, phases, engine_titles(settings))
        app = create_app(settings, partial(_start, settings), report_start, read)
    except StartupError as error:  # settings contradict each other, or the API keys can't be used
        return error
    service: Service = app.state.service
    closed = service.context.metrics.connections_closed
    config = partial(
        uvicorn.Config,
        log_config=None,
        access_log=False,
        server_header=False,
        http=limited_protocol(
            head_seconds=settings.head_seconds,
            write_seconds=settings.write_seconds,
            max_connections=settings.max_connections,
            max_head_bytes=MAX_HEADER_BYTES,
            count_closed=lambda reason: closed.labels(reason).inc(),
        ),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    beside = None
    if listeners.metrics is not None:
        beside = ServerBeside(config(create_metrics_app(settings, service)), listeners.metrics)
    server = DrainingServer(
        config(app, ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key),
        app.state.running,
        delay=settings.drain_delay,
        drain_seconds=settings.drain_seconds,
        beside=beside,
    )
    source = settings.policy_path if settings.has_policy else settings.critic_path
    logger.info(
        "loading %s from %s; probes answer on %s and metrics on %s",
        models,
        source,
        listeners.url,
        listeners.metrics_url,
    )
    try:
        server.run(sockets=[listeners.main])
    except KeyboardInterrupt:
        logger.info("stopped")
    return service.context.failure


async def _start(settings: Settings) -> Engines:
    """Start the engines. A thread imports vLLM for ten seconds, so that the probes answer meanwhile."""
    module = await asyncio.to_thread(import_module, "server.vllm_engine.start")
    engines: Engines = await module.start(settings)
    return engines


def _leave(number: int, frame: FrameType | None) -> None:
    raise Stopped(0)


def _first_line(reasons: Path) -> str | None:
    lines = reasons.read_text().splitlines() if reasons.exists() else []
    return lines[0] if lines else None


def _refuse(line: str) -> int:
    print(f"internvl3: {line}", file=sys.stderr, flush=True)
    return 1
