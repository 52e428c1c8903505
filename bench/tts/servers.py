"""Start the servers of `internvl3 bench tts` and read their counters.

The peers share two `vllm serve` with our plugin and our engines' flags. Model class and settings are the same
as ours, so only the layer of test-time scaling differs. (vLLM's own InternVL needs torchvision.)
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from bench.harness.prometheus_text import total
from server.settings import Settings
from server.vllm_engine.engine_flags import engine_flags, engine_roles
from ttscaling.asking.local_server import free_port, running_process, wait_until_ready

START_SECONDS = 900
CHAT = "/v1/chat/completions"
# server/vllm_engine/start.py sets the same for two engines on a CPU.
ENGINE_VARIABLES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCH_COMPILE_DISABLE": "1"}


@contextmanager
def all_servers(logs: Path, numbers: Sequence[int], peers: Path) -> Iterator[dict[str, tuple[str, int]]]:
    """Start all servers and yield, by name, the address and the process id of each once all are ready.

    They are "ours", "policy" and "critic" for the peers, and "optillm N" for each of `numbers`. Their output
    goes to files in `logs`; `peers` is the folder of the peers' packages. Raises CommandError if a server
    doesn't get ready; the message names its log.
    """
    cores = len(os.sched_getaffinity(0))
    environment = os.environ | ENGINE_VARIABLES | {"OMP_NUM_THREADS": str(max(1, cores // 2))}
    commands = {"ours": ([sys.executable, "-m", "server"], dict(os.environ))}
    settings = Settings()
    for role in engine_roles(settings):
        flags = engine_flags(
            replace(role, judges=False),
            settings,
            own_dtype="float32",
            backbone="qwen2",
            cpu=True,
        )
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]
        commands[role.title] = (command, environment)
    ports = {name: free_port() for name in [*commands, *(f"optillm {n}" for n in numbers)]}
    for n in numbers:
        flags = ["--base-url", f"http://127.0.0.1:{ports['policy']}/v1", "--best-of-n", str(n)]
        command = [sys.executable, "-P", "-c", "from optillm.server import main; main()", *flags]
        own = {"PYTHONPATH": str(peers), "OPENAI_API_KEY": "none"}
        commands[f"optillm {n}"] = (command, os.environ | own)
    with ExitStack() as stack:
        running = {}
        for name, (command, variables) in commands.items():
            flags = ["--port", str(ports[name])]
            starting = running_process([*command, *flags], logs / f"{name}.log", variables)
            running[name] = (f"http://127.0.0.1:{ports[name]}", stack.enter_context(starting))
        for name, (url, server) in running.items():
            wait_until_ready(f"{url}/health", server, logs / f"{name}.log", seconds=START_SECONDS)
        yield {name: (url, server.pid) for name, (url, server) in running.items()}


class Counts:
    """Counters of servers since this object was created.

    They are read from the metrics at `urls`, and from the CPU time of the processes `pids` and their
    descendants.
    """

    def __init__(self, urls: Sequence[str], pids: Sequence[int]) -> None:
        self._urls, self._pids = urls, pids
        self._before = self._now()

    def since(self) -> dict[str, float]:
        """Return tokens computed (prompts' without cached ones), chat requests, their bytes, CPU seconds."""
        return {name: value - self._before[name] for name, value in self._now().items()}

    def _now(self) -> dict[str, float]:
        text = "".join(httpx.get(f"{url}/metrics", timeout=60).text for url in self._urls)
        prompt, cached, generated = (
            total(text, f"vllm:{name}_total")
            for name in ("prompt_tokens", "prompt_tokens_cached", "generation_tokens")
        )
        return {
            "tokens": prompt - cached + generated,
            "requests": total(text, "http_requests_total", handler=CHAT),
            "bytes": total(text, "http_request_size_bytes_sum", handler=CHAT),
            "cpu_seconds": sum(map(cpu_seconds, self._pids)),
        }


def cpu_seconds(root: int, proc: Path = Path("/proc")) -> float:
    """Return the CPU seconds so far of a process and of its living descendants."""
    parents, ticks = {}, {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # The process has ended meanwhile.
            continue
        pid = int(stat.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {root}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")
