"""The real server that the engine tests share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.checkpoints import WINDOW, build_checkpoint
from tests.server.running import RunningServer, serving


@pytest.fixture(scope="session")
def server(engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Start the server with real engines on a tiny random policy and critic, under the name nano."""
    folder: Path = tmp_path_factory.mktemp("server")
    policy = build_checkpoint(folder / "policy", "opengvlab", seed=0, grounding=True)
    critic = build_checkpoint(folder / "critic", "opengvlab", seed=2, grounding=True)
    # Some critics are published without a template. The server then uses the published format.
    (critic / "chat_template.jinja").unlink()
    flags = ["--policy", str(policy), "--critic", str(critic), "--name", "nano", "--dtype", "float32"]
    flags += ["--private-media-hosts", "127.0.0.0/8", "--fetch-seconds", "5"]
    flags += ["--max-model-len", str(2 * WINDOW)]  # the window limits positions, so more tokens are allowed
    flags += ["--policy-args", "--enable-auto-tool-choice --tool-call-parser hermes"]
    with serving(engine_env, folder / "log", *flags) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as opened:
        yield opened
