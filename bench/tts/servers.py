"""The servers of `internvl3 bench tts`, and what they count.

The peers' two are `vllm serve` with our plugin and our own engines' flags: the same model class and settings,
so that what differs is the layer of test-time scaling. (vLLM's own InternVL needs torchvision.)
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from server.settings import Settings
from server.vllm_engine.engine_flags import engine_flags, engine_roles
from ttscaling.asking.local_server import free_port, running_process, wait_until_ready

START_SECONDS = 900
WINDOW = 8192
CHAT = "/v1/chat/completions"
# As server/vllm_engine/start.py sets them for two engines on a CPU.
ENGINE_VARIABLES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCH_COMPILE_DISABLE": "1"}


@contextmanager
def all_servers(logs: Path, numbers: Sequence[int], peers: Path) -> Iterator[dict[str, tuple[str, int]]]:
    """Ours, the peers' `policy` and `critic`, and `optillm N` for each N: address and process number by name.

    All are ready. Raises CommandError where one can't be; the message names its log.
    """
    cores = len(os.sched_getaffinity(0))
    environment = os.environ | ENGINE_VARIABLES | {"OMP_NUM_THREADS": str(max(1, cores // 2))}
    commands = {"ours": ([sys.executable, "-m", "server"], dict(os.environ))}
    settings = Settings()
    for role in engine_roles(settings):
        flags = engine_flags(
            replace(role, judges=False), settings, own_dtype="float32", window=WINDOW, engines=2, cpu=True
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
    """What servers have counted since this was made: those that have metrics, and all processes' CPU time."""

    def __init__(self, urls: Sequence[str], pids: Sequence[int]) -> None:
        self._urls, self._pids = urls, pids
        self._before = self._now()

    def since(self) -> dict[str, float]:
        """Tokens computed (of prompts those not cached, and generated), chat requests, their bytes, CPU s."""
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


def total(metrics: str, name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels in a text of Prometheus' format."""
    families = text_string_to_metric_families(metrics)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def cpu_seconds(root: int, proc: Path = Path("/proc")) -> float:
    """CPU time so far of a process and all that descend from it and are alive."""
    parents, ticks = {}, {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(stat.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {root}
    while found := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= found
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")
