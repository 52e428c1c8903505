"""Ask a server for more than it can answer, and check what it says and keeps (`internvl3 bench overload`)."""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import Progress

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.prometheus_text import total
from bench.harness.report import machine
from bench.harness.worker import memory_mib
from ttscaling.asking.local_server import serving_process

from .systems import image_url

CHAT = "/v1/chat/completions"
# Small enough that some clients have to wait and others are refused.
FLAGS = ["--max-running-tokens", "2000", "--max-queued", "16", "--queue-seconds", "10"]
LEAVE_SECONDS = 1.0
EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"stream": True},
    {"best_of": 8},
    {"best_of": 4, "stream": True},
    {"test_time_scaling": {"method": "self_consistency", "n": 4}},
    {"v2pe_delta": 7},  # refused
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "none"}}}},
)


def overload(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the clients ask.")] = 10,
    clients: Annotated[int, typer.Option(min=1, help="Clients that ask without a pause.")] = 48,
    seed: Annotated[int, typer.Option(help="Seed of what they ask.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Serve nano with a small capacity, and ask with more clients than it and its queue have room for.

    The requests are mixed: texts and images, streams, Best-of-N, votes, wrong fields, broken images, and
    clients that leave. The output has the statuses, what is no answer by design, the server's memory over
    time, and its token counters beside vLLM's.
    """
    console = Console(stderr=True)
    log = logs_folder("serving") / "overload.log"
    with serving_process(FLAGS, log) as (url, pid), Progress(console=console) as bar:
        facts = asyncio.run(_load(url, pid, minutes * 60, clients, seed, bar))
    out = Console()
    for name, value in facts.items():
        out.print(f"{name.replace('_', ' ')}: {value}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps(facts | {"machine": machine()}))
    if facts["faults"] or facts["tokens"] != facts["tokens_of_vllm"]:
        raise typer.Exit(1)


async def _load(url: str, pid: int, seconds: float, clients: int, seed: int, bar: Progress) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    memory: list[int] = []
    deadline = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as http:

        async def client(number: int) -> None:
            chance = random.Random(f"{seed} {number}")
            while time.monotonic() < deadline:
                outcome, fault = await ask(http, chance)
                outcomes[outcome] += 1
                if fault is not None:
                    faults.append(fault)
                if outcome in ("429", "503"):  # sooner than Retry-After says, so that the load stays
                    await asyncio.sleep(chance.random())

        async def watch() -> None:
            task = bar.add_task("asking", total=seconds)
            while time.monotonic() < deadline:
                memory.append(round(memory_mib("VmRSS", str(pid))))
                bar.update(task, completed=seconds - (deadline - time.monotonic()))
                await asyncio.sleep(min(10, seconds / 10))

        await asyncio.gather(watch(), *(client(number) for number in range(clients)))
        text = await _idle_metrics(http)
    half = memory[len(memory) // 2 :]
    return {
        "requests": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "faults": faults[:20],
        "server_mib": memory,
        "server_mib_grown_in_the_second_half": max(half) - half[0],
        "tokens": tokens_of_server(text),
        "tokens_of_vllm": tokens_of_vllm(text),
    }


async def ask(http: httpx.AsyncClient, chance: random.Random) -> tuple[str, str | None]:
    """Send one request of a random kind; return its outcome, and what is wrong with it."""
    body, is_bad = _body(chance)
    try:
        if chance.random() < 0.1:
            async with asyncio.timeout(chance.uniform(0, LEAVE_SECONDS)):
                await http.post(CHAT, json=body)
            return "left too late", None
        reply = await http.post(CHAT, json=body)
    except TimeoutError:
        return "left", None
    except httpx.HTTPError as error:
        return "no reply", repr(error)
    status, text = reply.status_code, reply.text
    expected = {400} if is_bad else {200}
    wrong = status not in expected | {429, 503}
    if status in (429, 503):
        code = reply.json()["error"]["code"]
        wrong = code not in ("queue_full", "queue_timeout") or "retry-after" not in reply.headers
    outcome = str(status)
    if status == 200 and body.get("stream"):
        wrong = wrong or not text.endswith("data: [DONE]\n\n")
        if (
            '{"error"' in text
        ):  # after ten seconds in the queue a stream has begun, so its refusal is an event
            outcome, wrong = "503 in a stream", wrong or '"code":"queue_timeout"' not in text
    return outcome, f"{status} {text[-300:]}" if wrong else None


def _body(chance: random.Random) -> tuple[dict[str, Any], bool]:
    extra = chance.choice(EXTRAS)
    is_bad = bool({"v2pe_delta", "response_format"} & extra.keys())
    content: list[dict[str, Any]] = [{"type": "text", "text": f"What is the sum of row {chance.random()}?"}]
    if chance.random() < 0.5:
        url = image_url((640, 480), chance.randrange(10**9))
        if chance.random() < 0.1:
            url, is_bad = url[:-2000], True
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 64, **extra}, is_bad


async def _idle_metrics(http: httpx.AsyncClient) -> str:
    """Return the metrics once no request runs."""
    while True:
        text = (await http.get("/metrics")).text
        if total(text, "vllm:num_requests_running") + total(text, "vllm:num_requests_waiting") == 0:
            return text
        await asyncio.sleep(0.2)


def tokens_of_server(metrics: str) -> dict[str, int]:
    """Return the tokens that the server has counted: read by both models, and written by the policy."""
    kinds = ("prompt_computed", "prompt_cached", "completion")
    counts = [total(metrics, "internvl3_tokens_total", kind=kind) for kind in kinds]
    return {"read": int(counts[0] + counts[1]), "written": int(counts[2])}


def tokens_of_vllm(metrics: str) -> dict[str, int]:
    """Return the tokens that vLLM has counted, in the same shape."""
    written = total(metrics, "vllm:generation_tokens_total", model_name="nano")
    return {"read": int(total(metrics, "vllm:prompt_tokens_total")), "written": int(written)}
