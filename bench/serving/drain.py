"""Stop a server with SIGTERM under load, and count what became of it (`internvl3 bench drain`)."""

import asyncio
import json
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.report import machine
from ttscaling.asking.local_server import free_port, running_process, serve_command, wait_until_ready

from .systems import image_url

CHAT = "/v1/chat/completions"
KINDS: tuple[dict[str, Any], ...] = ({}, {"stream": True}, {"best_of": 4}, {"best_of": 4, "stream": True})
PAUSE_SECONDS = 0.02  # of a client that was refused
STOP_SECONDS = 90


@dataclass
class Tally:
    """What became of the requests of all clients. `stopped` is when the signal was sent, by the clock."""

    stopped: float | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_after: float = 0.0  # seconds from the signal to the last complete answer


def drain(
    clients: Annotated[int, typer.Option(min=1, help="Clients that ask without a pause.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds until the signal.")] = 10,
    delay: Annotated[int, typer.Option(min=0, help="The server's --drain-delay.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of what they ask.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Serve nano, send it SIGTERM under load, and check that no request it had accepted is lost.

    The requests are texts and images, plain, as streams, and as Best-of-4. The clients go on until their
    connections are refused.
    """
    port, log = free_port(), logs_folder("serving") / "drain.log"
    with running_process(serve_command(["--drain-delay", str(delay)], port), log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/readyz", process, log)
        facts = asyncio.run(_load(url, process, clients, seconds, seed))
    out = Console()
    for name, value in facts.items():
        out.print(f"{name.replace('_', ' ')}: {value}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"bench": "drain", **facts, "machine": machine()}))
    if facts["faults"] or facts["exit_status"] != 0:
        raise typer.Exit(1)


async def _load(
    url: str, process: subprocess.Popen[bytes], clients: int, seconds: float, seed: int
) -> dict[str, Any]:
    tally = Tally()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as http:

        async def client(number: int) -> None:
            chance = random.Random(f"{seed} {number}")
            while await ask(http, chance, tally):
                pass

        async def stop() -> None:
            await asyncio.sleep(seconds)
            tally.stopped = time.monotonic()
            process.terminate()

        await asyncio.gather(stop(), *(client(number) for number in range(clients)))
        status = await asyncio.to_thread(process.wait, STOP_SECONDS)
    assert tally.stopped is not None
    return {
        "outcomes": dict(sorted(tally.outcomes.items())),
        "faults": tally.faults[:20],
        "seconds_to_the_last_answer": round(tally.longest_after, 2),
        "seconds_to_the_end": round(time.monotonic() - tally.stopped, 2),
        "exit_status": status,
    }


async def ask(http: httpx.AsyncClient, chance: random.Random, tally: Tally) -> bool:
    """Send one request of a random kind and note what becomes of it; return whether the server still listens.

    A fault is a request without a whole answer, unless the server has refused it or its connection.
    """
    body = _body(chance)
    sent = time.monotonic()
    try:
        reply = await http.post(CHAT, json=body)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        tally.outcomes["connection refused"] += 1
        if tally.stopped is None:
            tally.faults.append("the server took no connection before the signal")
        return False
    except httpx.HTTPError as error:
        tally.outcomes["lost"] += 1
        tally.faults.append(f"lost, sent {_relative(sent, tally)}: {error!r}")
        return True
    refused = reply.status_code == httpx.codes.SERVICE_UNAVAILABLE
    if refused and tally.stopped is not None and "retry-after" in reply.headers:
        tally.outcomes["refused with 503"] += 1
        await asyncio.sleep(PAUSE_SECONDS)
        return True
    if reply.status_code != httpx.codes.OK or not _is_whole(reply.text, bool(body.get("stream"))):
        tally.outcomes["cut or failed"] += 1
        tally.faults.append(f"{reply.status_code}, sent {_relative(sent, tally)}: {reply.text[-200:]}")
        return True
    ended = time.monotonic()
    if tally.stopped is None or ended < tally.stopped:
        tally.outcomes["answered before the signal"] += 1
    else:
        ran = sent < tally.stopped
        tally.outcomes["running at the signal, answered" if ran else "sent after it, answered"] += 1
        tally.longest_after = max(tally.longest_after, ended - tally.stopped)
    return True


def _relative(moment: float, tally: Tally) -> str:
    return (
        "before the signal" if tally.stopped is None else f"{moment - tally.stopped:+.2f} s from the signal"
    )


def _is_whole(text: str, is_stream: bool) -> bool:
    if is_stream:
        return text.endswith("data: [DONE]\n\n") and '{"error"' not in text
    return bool(json.loads(text)["choices"])


def _body(chance: random.Random) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": f"What is the sum of row {chance.random()}?"}]
    if chance.random() < 0.3:
        url = image_url((320, 240), chance.randrange(10**9))
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 64}
    return body | chance.choice(KINDS)
