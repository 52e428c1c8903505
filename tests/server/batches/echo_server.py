"""A server in a process of its own, with an engine that echoes, which a test may kill at any moment."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from server.engine_interface import CountTokens
from server.prompts import ChooseCandidates
from server.request_media import Media
from tests.server.apps import app_with
from tests.server.batches.echo import EchoEngine
from tests.server.database.postgresql import free_port

# Its processes are forked from one that has imported everything, so that they start at once.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


class LoggingEngine(EchoEngine):
    """Writes each question that it is asked into a file, with a name of its process."""

    def __init__(self, log: Path, name: str, seconds: float) -> None:
        super().__init__()
        self._log = log
        self._name = name
        self._seconds = seconds

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> dict[str, Any]:
        with self._log.open("a") as log:
            log.write(f"{self._name} {body['messages'][-1]['content']}\n")
        await asyncio.sleep(self._seconds)
        return await super().complete(body, choose, media=media, count=count)


@dataclass(frozen=True, kw_only=True)
class EchoServer:
    """A running process, which `kill` ends at once."""

    process: Any
    url: str

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@contextmanager
def echo_server(folder: Path, name: str, seconds: float, **chosen: Any) -> Iterator[EchoServer]:
    """Start a server, yield it when it is ready, and kill it. `seconds` is the time for one answer.

    What the engines are asked stands in the file `asked` of the folder.
    """
    port = free_port()
    process = CONTEXT.Process(target=_serve, args=(port, folder, name, seconds, chosen), daemon=True)
    process.start()
    server = EchoServer(process=process, url=f"http://127.0.0.1:{port}")
    try:
        while not _is_ready(server.url):
            assert process.is_alive(), f"the server ended with {process.exitcode}"
            time.sleep(0.02)
        yield server
    finally:
        server.kill()


def questions(folder: Path) -> list[tuple[str, str]]:
    """Return the server and the question of all that the engines were asked."""
    path = folder / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(entry.partition(" ")[0], entry.partition(" ")[2]) for entry in lines]


def _serve(port: int, folder: Path, name: str, seconds: float, chosen: Mapping[str, Any]) -> None:
    app = app_with(LoggingEngine(folder / "asked", name, seconds), files=folder / "files", **chosen)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
