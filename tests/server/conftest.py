"""The real server that the engine tests share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from server.access.key_file import digest_of
from tests.adapters import random_adapter
from tests.checkpoints import WINDOW, build_checkpoint
from tests.sentencepiece_tokenizers import write_tokenizer
from tests.server.database.postgresql import running_postgresql
from tests.server.running import RunningServer, serving

CRITIC_SYSTEM = "Judge every step."  # of `keyed_server`
ADAPTER = "reports"  # its LoRA adapter
ADAPTER_FOLDER = "adapters"  # where others are loaded from, beside its log


def random_pair(folder: Path) -> tuple[Path, Path]:
    """Build the policy and the critic of `server`, which are the same each time."""
    policy = build_checkpoint(folder / "policy", "opengvlab", seed=0, grounding=True)
    critic = build_checkpoint(folder / "critic", "opengvlab", seed=2, grounding=True)
    # Some critics are published without a template. The server then uses the published format.
    (critic / "chat_template.jinja").unlink()
    return policy, critic


@pytest.fixture(scope="session")
def server(engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Start the server with real engines on a tiny random policy and critic, under the name nano."""
    folder: Path = tmp_path_factory.mktemp("server")
    policy, critic = random_pair(folder)
    flags = ["--policy", str(policy), "--critic", str(critic), "--name", "nano", "--dtype", "float32"]
    flags += ["--private-media-hosts", "127.0.0.0/8", "--fetch-seconds", "5"]
    flags += ["--max-model-len", str(2 * WINDOW)]  # the window limits positions, so more tokens are allowed
    flags += ["--policy-args", "--enable-auto-tool-choice --tool-call-parser hermes"]
    with serving(engine_env, folder / "log", *flags, "--files", str(folder / "files")) as running:
        yield running


def bearer(key: str) -> dict[str, str]:
    """Return the header that sends an API key of `keyed_server`, which is `key of NAME`."""
    return {"Authorization": f"Bearer key of {key}"}


@pytest.fixture(scope="session")
def internlm2_critic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random critic with InternLM2 as its language model, as VisualPRM has it."""
    folder: Path = tmp_path_factory.mktemp("internlm2_critic")
    files = write_tokenizer(folder / "tokenizer", "InternLM2Tokenizer", dummy_prefix=False).directory
    return build_checkpoint(
        folder / "critic", "opengvlab", seed=6, language="internlm2", tokenizer_files=files
    )


@pytest.fixture(scope="session")
def keyed_server(
    qwen_checkpoint: Path,
    internlm2_critic: Path,
    engine_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """Start a server with Qwen's real vocabulary, an InternLM2 critic, an adapter, and three API keys."""
    folder: Path = tmp_path_factory.mktemp("keyed_server")
    keys = folder / "keys.toml"
    tables = [
        f'[keys.{name}]\nsha256 = "{digest_of(f"key of {name}")}"\n' for name in ("first", "second", "admin")
    ]
    keys.write_text("".join([*tables, "admin = true\n"]))
    flags = ["--policy", str(qwen_checkpoint), "--critic", str(internlm2_critic), "--name", "nano"]
    flags += ["--dtype", "float32", "--critic-system-message", CRITIC_SYSTEM, "--max-model-len", str(WINDOW)]
    flags += ["--adapters", f"{ADAPTER}={random_adapter(folder / 'adapter', qwen_checkpoint, seed=3)}"]
    later = folder / ADAPTER_FOLDER
    later.mkdir()
    flags += ["--adapter-folder", str(later), "--max-adapters", "2", "--max-adapter-rank", "8"]
    flags += ["--files", str(folder / "files"), "--api-keys", str(keys)]
    with serving(engine_env, folder / "log", *flags) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a real PostgreSQL; each test makes itself a database in it."""
    with running_postgresql() as url:
        yield url


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as opened:
        yield opened
