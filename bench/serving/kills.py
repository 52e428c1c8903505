"""Kill a server again and again while it answers a batch, and compare (`internvl3 bench kills`)."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.processes import family, is_running
from bench.harness.report import machine
from ttscaling.asking.local_server import free_port, running_process, serve_command, wait_until_ready

from .systems import image_url

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")
ANSWERED = re.compile(r"BATCH \S+ 200 .* line (\d+) of batch_")  # what the log says after a result is durable
START_SECONDS = 15.0  # in which a kill hits a server that isn't ready
STARTING_SHARE = 0.2  # of the kills
PAUSE_SECONDS = 0.5  # at most, after the number of results that a kill waits for
ENGINE_SECONDS = 30  # in which the engines of a killed server must end

Answers = Sequence[tuple[str, str]]  # the custom_id and the answer of each result


def kills(
    lines: Annotated[int, typer.Option(min=1, help="Lines of the batch.")] = 500,
    count: Annotated[int, typer.Option("--kills", min=0, help="How often the server is killed.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 15,
    as_json: JsonOption = False,
) -> None:
    """Answer a batch with nano at temperature 0 twice: undisturbed, and with a server that is killed.

    The server is killed with SIGKILL at random moments, also while it starts, and started again. The output
    has the results that are missing, that are there twice or that differ, and the lines that were answered
    again although their results were kept.
    """
    console, logs = Console(stderr=True), logs_folder("serving")
    content = batch_file(lines)
    with TemporaryDirectory() as folder:
        console.print("undisturbed")
        expected = _undisturbed(Path(folder, "undisturbed"), content, logs / "undisturbed.log")
    with TemporaryDirectory() as folder:
        facts = _disturbed(Path(folder, "files"), content, logs, random.Random(seed), lines, count, console)
    facts |= {"results": len(facts["answers"]), **differences(expected, facts.pop("answers"))}
    out = Console()
    for name, value in facts.items():
        out.print(f"{name.replace('_', ' ')}: {value}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"bench": "kills", "lines": lines, **facts, "machine": machine()}))
    if any(facts[name] for name in ("missing", "twice", "different", "answered_again", "engines_left")):
        raise typer.Exit(1)


def batch_file(lines: int) -> bytes:
    """Return a batch of texts and, in every fourth line, images."""
    return b"".join(json.dumps(_line(number)).encode() + b"\n" for number in range(lines))


def differences(expected: Answers, found: Answers) -> dict[str, list[str]]:
    """Return the custom_ids of the results that are missing, there twice, or not the expected ones."""
    answers, counts = dict(found), Counter(name for name, _ in found)
    return {
        "missing": [name for name, _ in expected if name not in answers],
        "twice": [name for name, times in counts.items() if times > 1],
        "different": [name for name, text in expected if answers.get(name, text) != text],
    }


def answered_again(logs: Sequence[str]) -> list[int]:
    """Return the numbers of the lines whose results several logs, or one log several times, call kept."""
    counts = Counter(int(found[1]) for log in logs for found in ANSWERED.finditer(log))
    return sorted(number for number, times in counts.items() if times > 1)


def _line(number: int) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": f"What is the sum of row {number}?"}]
    if number % 4 == 0:
        content.insert(0, {"type": "image_url", "image_url": {"url": image_url((120, 120), number)}})
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 64, "temperature": 0}
    return {"custom_id": f"line-{number}", "method": "POST", "url": CHAT, "body": body}


def _undisturbed(files: Path, content: bytes, log: Path) -> Answers:
    with _running(files, log) as (process, url):
        wait_until_ready(f"{url}/readyz", process, log)
        with httpx.Client(base_url=url, timeout=60) as client:
            return _results(client, _created(client, content))


def _disturbed(
    files: Path,
    content: bytes,
    logs: Path,
    chance: random.Random,
    lines: int,
    count: int,
    console: Console,
) -> dict[str, Any]:
    """Return the answers of a batch whose servers are killed, and what was seen of the kills."""
    begun = time.monotonic()
    while_starting = sum(chance.random() < STARTING_SHARE for _ in range(count))
    moments: list[int | None] = [None] * while_starting
    moments += [chance.randrange(lines) for _ in range(count - while_starting)]
    chance.shuffle(moments)
    reached = iter(sorted(moment for moment in moments if moment is not None))
    batch: str | None = None
    engines_left = 0
    texts = []
    for number, moment in enumerate(moments):
        log = logs / f"killed-{number}.log"
        with _running(files, log) as (process, url):
            if moment is None:
                time.sleep(chance.random() * START_SECONDS)
                console.print(f"kill {number + 1} while the server starts")
            else:
                wait_until_ready(f"{url}/readyz", process, log)
                with httpx.Client(base_url=url, timeout=60) as client:
                    batch = batch or _created(client, content)
                    kept = _wait_for(client, batch, next(reached))
                time.sleep(chance.random() * PAUSE_SECONDS)
                console.print(f"kill {number + 1} after {kept} results or more")
            engines = family(process.pid).keys() - {process.pid}
            process.kill()
            process.wait()
        engines_left += _kill_what_stays(engines)
        texts.append(log.read_text())
    log = logs / "last.log"
    with _running(files, log) as (process, url):
        wait_until_ready(f"{url}/readyz", process, log)
        with httpx.Client(base_url=url, timeout=60) as client:
            answers = _results(client, batch or _created(client, content))
    texts.append(log.read_text())
    return {
        "kills": count,
        "kills_while_starting": while_starting,
        "engines_left": engines_left,
        "answered_again": answered_again(texts),
        "seconds": round(time.monotonic() - begun),
        "answers": answers,
    }


def _kill_what_stays(engines: Collection[int]) -> int:
    """Wait until the processes of a killed server have ended, and return how many had to be killed, too."""
    deadline = time.monotonic() + ENGINE_SECONDS
    while time.monotonic() < deadline and any(map(is_running, engines)):
        time.sleep(0.1)
    left = [engine for engine in engines if is_running(engine)]
    for engine in left:
        os.kill(engine, signal.SIGKILL)
    return len(left)


@contextmanager
def _running(files: Path, log: Path) -> Iterator[tuple[Any, str]]:
    """Start a server with a folder for its files, and yield its process and its address at once."""
    port = free_port()
    with running_process(serve_command(["--files", str(files)], port), log) as process:
        yield process, f"http://127.0.0.1:{port}"


def _created(client: httpx.Client, content: bytes) -> str:
    """Return the id of a new batch."""
    upload = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("lines.jsonl", content)})
    body = {
        "input_file_id": upload.raise_for_status().json()["id"],
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    batch_id: str = client.post("/v1/batches", json=body).raise_for_status().json()["id"]
    return batch_id


def _batch(client: httpx.Client, batch: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = client.get(f"/v1/batches/{batch}").raise_for_status().json()
    return found


def _wait_for(client: httpx.Client, batch: str, results: int) -> int:
    """Wait until a batch has so many results, or has ended, and return how many it has."""
    while True:
        found = _batch(client, batch)
        kept: int = found["request_counts"]["completed"]
        if kept >= results or found["status"] in ENDED:
            return kept
        time.sleep(0.05)


def _results(client: httpx.Client, batch: str) -> Answers:
    """Return the results of a batch as soon as it has ended."""
    while (found := _batch(client, batch))["status"] not in ENDED:
        time.sleep(0.2)
    content = client.get(f"/v1/files/{found['output_file_id']}/content").raise_for_status().text
    records = map(json.loads, content.splitlines())
    return [
        (record["custom_id"], record["response"]["body"]["choices"][0]["message"]["content"])
        for record in records
    ]
