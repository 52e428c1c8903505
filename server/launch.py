"""From settings to a server that listens, and from a failed start to one line and exit status 1."""

import asyncio
import logging
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

import uvicorn

from server.http.app import create_app
from server.telemetry import logs

from .engine_interface import Engine
from .errors import EngineDied
from .settings import Settings

logger = logging.getLogger("internvl3.server")
MAX_HEADER_BYTES = 64 * 1024


def run(settings: Settings) -> int:
    """Serves until told to stop; returns the exit status."""
    try:
        listener = _listen(settings)
    except OSError as error:
        return _refuse(f"can't listen on {settings.host}:{settings.port}: {error.strerror}")
    # uvicorn ends gracefully on SIGTERM, then raises it again: leave as an exit, so that what is open gets
    # closed.
    signal.signal(signal.SIGTERM, _leave)
    with listener, TemporaryDirectory(prefix="internvl3-") as folder:
        reasons = logs.configure(Path(folder), settings.log_level)
        if settings.log_level != "debug":  # deprecations inside torch or vLLM are not an operator's
            warnings.simplefilter("ignore")
            os.environ.setdefault("PYTHONWARNINGS", "ignore")
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # this process has threads
        failure = _serve(settings, listener)
        if failure is None:
            return 0
        if isinstance(failure, EngineDied):
            return _refuse(f"{failure}: {_first_line(reasons)}")
        return _refuse(str(failure) or type(failure).__name__)


def _serve(settings: Settings, listener: socket.socket) -> Exception | None:
    """Runs the server to its end; the error if its engines could not start."""
    url = _url(settings, listener)
    critic = f" with critic {settings.critic_name}" if settings.critic_path else ", without a critic"

    def loaded(failure: Exception | None) -> None:
        if failure is None:
            logger.info("ready: %s%s on %s/v1", settings.served_name, critic, url)
        else:
            server.should_exit = True

    app = create_app(settings, partial(_start, settings), loaded)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http="h11",  # the parser whose limits on headers are known
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_graceful_shutdown=settings.drain_seconds,
        )
    )
    logger.info(
        "loading %s from %s%s; probes answer on %s", settings.served_name, settings.policy_path, critic, url
    )
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        logger.info("stopped")
    failure: Exception | None = app.state.internvl3.failure
    return failure


async def _start(settings: Settings) -> Engine:
    """Imports vLLM, which takes ten seconds, in a thread: the probes answer meanwhile."""
    module = await asyncio.to_thread(import_module, "server.vllm_engine.start")
    engine: Engine = await module.start(settings)
    return engine


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


def _url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _first_line(reasons: Path) -> str:
    lines = reasons.read_text().splitlines() if reasons.exists() else []
    return lines[0] if lines else "its process ended; see above"


def _refuse(line: str) -> int:
    print(f"internvl3: {line}", file=sys.stderr, flush=True)
    return 1
