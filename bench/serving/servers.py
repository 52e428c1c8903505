"""Start ours, with an API key, and `vllm serve` on the same checkpoint, for `internvl3 bench serving`."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from server.access.key_file import digest_of
from server.settings import Settings
from server.vllm_engine.engine_flags import engine_flags, engine_roles
from ttscaling.asking.local_server import free_port, running_process, wait_until_ready

START_SECONDS = 900
KEY = "a-key-of-the-benchmark"
KEY_FILE = """[keys.bench]
sha256 = "{digest}"
requests_per_minute = 1000000
tokens_per_minute = 1000000000
concurrent_requests = 1000
"""


@contextmanager
def both_servers(logs: Path) -> Iterator[dict[str, str]]:
    """Start both servers and yield their addresses, "ours" and "vllm serve", once both are ready.

    They have nano's policy, the same flags for the engine, and as many threads. Ours checks a key with limits
    and counts its tokens. The output goes to files in `logs`. Raises CommandError if a server doesn't start.
    """
    settings = Settings(critic="none")
    (role,) = engine_roles(settings)
    flags = engine_flags(role, settings, own_dtype="float32", backbone="qwen2", cpu=True)
    keys = logs / "keys.toml"
    keys.write_text(KEY_FILE.format(digest=digest_of(KEY)))
    # The engine leaves cores to the server's own process: with all of them both get slower.
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    environment = {"OMP_NUM_THREADS": str(threads), "TORCH_COMPILE_DISABLE": "1"}
    commands = {
        "ours": [sys.executable, "-m", "server", "--critic", "none", "--api-keys", str(keys)],
        "vllm serve": [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags],
    }
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            port, log = free_port(), logs / f"{name}.log"
            process = running_process(
                [*command, "--host", "127.0.0.1", "--port", str(port)], log, os.environ | environment
            )
            running[name] = (f"http://127.0.0.1:{port}", stack.enter_context(process), log)
        for url, server, log in running.values():
            wait_until_ready(f"{url}/health", server, log, seconds=START_SECONDS)
        yield {name: url for name, (url, _, _) in running.items()}
