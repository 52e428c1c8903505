"""Kill client and server of a batch, and compare with an undisturbed run (`internvl3 bench batch`)."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.harness.logs import logs_folder
from bench.harness.output import JsonOption
from bench.harness.report import machine
from ttscaling.asking.local_server import CONSOLE_COMMAND
from ttscaling.console import CommandError

from .clips import make_clips
from .counting_proxy import Counts, counting_proxy
from .killable_server import KillableServer

FOLDER = Path("runs/bench/batch")
QUESTION = "What is the sum of row 1?"
LONGEST = 3600.0  # seconds


def batch(
    videos: Annotated[int, typer.Option(min=10, help="Number of videos.")] = 200,
    seconds: Annotated[int, typer.Option(min=1, help="Length of each video.")] = 3,
    client_kills: Annotated[int, typer.Option(min=0, help="How often the client is killed.")] = 3,
    server_kills: Annotated[int, typer.Option(min=0, help="How often the server is killed.")] = 2,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at the server at a time.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the moments at which something is killed.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Ask nano about many short videos three times: undisturbed, with kills, and as two merged shards.

    All three must give the same answers, each once. With kills, no more requests may reach the server again
    than can have been under way when something was killed. The exit code is 1 if one of this isn't so.
    """
    console = Console(stderr=True)
    source = make_clips(FOLDER / f"clips-{videos}-{seconds}", videos, seconds)
    for name in ("undisturbed", "disturbed", "shards", "cache"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    log = logs_folder("batch") / "server.log"
    log.unlink(missing_ok=True)
    moments = _moments(videos, client_kills, server_kills, seed)
    with KillableServer(log) as server:
        with counting_proxy(server.url) as (url, counts):
            began = time.monotonic()
            _run(source, "undisturbed", url, concurrency)
            plain = {"seconds": round(time.monotonic() - began, 1), "requests": counts.answered}
        console.print(f"undisturbed: {plain}")
        expected = answers(FOLDER / "undisturbed")
        with counting_proxy(server.url) as (url, counts):
            began = time.monotonic()
            _run_with_kills(source, url, concurrency, server, counts, moments, console)
            found = answers(FOLDER / "disturbed")
            disturbed = {
                "seconds": round(time.monotonic() - began, 1),
                "kills": len(moments),
                "repeated_requests": counts.repeats,
                "most_under_way": len(moments) * concurrency,
                "answers": len(found),
                "twice": _lines(FOLDER / "disturbed") - len(found),
                "equal": found == expected,
            }
        console.print(f"disturbed: {disturbed}")
        for shard in ("0/2", "1/2"):
            _run(source, "shards", server.url, concurrency, "--shard", shard)
    subprocess.run([*_command(), "merge", str(FOLDER / "shards")], check=True, stdout=subprocess.DEVNULL)
    merged = {"equal": answers(FOLDER / "shards") == expected}
    console.print(f"two shards: {merged}")
    if as_json:
        facts = {"undisturbed": plain, "disturbed": disturbed, "two_shards": merged}
        print(json.dumps({"bench": "batch", "videos": videos, **facts, "machine": machine()}))
    if not (is_as_undisturbed(disturbed) and merged["equal"] and len(expected) == videos):
        raise typer.Exit(1)


def is_as_undisturbed(disturbed: dict[str, Any]) -> bool:
    """Return whether all answers are there once and are equal, and no more was repeated than was under way.

    A request is under way until the client has its reply on the disk, which is longer than at the server.
    """
    repeats, most = int(disturbed["repeated_requests"]), int(disturbed["most_under_way"])
    return bool(disturbed["equal"]) and not disturbed["twice"] and repeats <= most


def answers(out: Path) -> dict[str, str]:
    """Return the answers in a folder's results.jsonl by their ids."""
    found = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in found}


def _lines(out: Path) -> int:
    return len((out / "results.jsonl").read_text().splitlines())


def _moments(videos: int, client_kills: int, server_kills: int, seed: int) -> list[tuple[int, str]]:
    """Return after how many answers what is killed, in the order of time."""
    chosen = random.Random(seed)
    kinds = ["client"] * client_kills + ["server"] * server_kills
    numbers = chosen.sample(range(videos // 20, videos - videos // 20), len(kinds))
    chosen.shuffle(kinds)
    return sorted(zip(numbers, kinds, strict=True))


def _command() -> list[str]:
    return [sys.executable, "-c", CONSOLE_COMMAND, "batch"]


def _arguments(source: Path, name: str, url: str, concurrency: int) -> list[str]:
    options = {
        "--question": QUESTION,
        "--out": FOLDER / name,
        "--cache": FOLDER / "cache" / name,
        "--base-url": url,
        "--max-tokens": 16,
        "--temperature": 0,
        "--concurrency": concurrency,
        "--patience": 600,
    }
    words = [str(word) for option in options.items() for word in option]
    return [*_command(), str(source), *words]


def _run(source: Path, name: str, url: str, concurrency: int, *more: str) -> None:
    """Run a job to its end. Raises CommandError if not every item has an answer."""
    command = [*_arguments(source, name, url, concurrency), *more]
    status = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    if status:
        raise CommandError(f"internvl3 batch ended with status {status}; see its lines above")


def _run_with_kills(
    source: Path,
    url: str,
    concurrency: int,
    server: KillableServer,
    counts: Counts,
    moments: list[tuple[int, str]],
    console: Console,
) -> None:
    """Run a job to its end, and kill at the given moments. Raises CommandError if it fails."""
    command = _arguments(source, "disturbed", url, concurrency)
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    restart: threading.Thread | None = None
    try:
        for number, kind in moments:
            _wait_for_answers(counts, number, client)
            console.print(f"after {counts.answered} answers: the {kind} is killed")
            if kind == "client":
                client.kill()
                client.wait()
                client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            else:
                if restart is not None:
                    restart.join()
                server.kill()
                restart = threading.Thread(target=server.start)
                restart.start()
        status = client.wait(LONGEST)
        if status:
            raise CommandError(f"internvl3 batch ended with status {status}; see its lines above")
    finally:
        client.kill()
        if restart is not None:
            restart.join()


def _wait_for_answers(counts: Counts, number: int, client: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST
    while counts.answered < number:
        if client.poll() is not None:
            raise CommandError(f"internvl3 batch ended with status {client.returncode} before its time")
        if time.monotonic() > deadline:
            raise CommandError(f"there were not {number} answers within {LONGEST:g} s")
        time.sleep(0.02)
