"""Run small jobs in a test, and read what they have written."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from clients.video_jobs.run.options import Ending, JobOptions
from clients.video_jobs.run.session import run_job
from tests.clients.video_jobs.whole_video import whole_video


def videos(folder: Path, count: int) -> Path:
    """Write `count` files that are taken for videos; no two of them are equal."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.mp4").write_bytes(f"video {number}".encode())
    return folder


def options(source: Path | str, out: Path, *urls: str, **chosen: Any) -> JobOptions:
    defaults: dict[str, Any] = {"questions": ("What happens?",), "patience": 60.0}
    return JobOptions(str(source), out=out, base_urls=urls, **defaults | chosen)


def run(chosen: JobOptions) -> tuple[Ending, str]:
    """Run a job, and return how it ended and what it printed."""
    printed = StringIO()
    console = Console(file=printed, width=1000)
    return run_job(chosen, whole_video, console), printed.getvalue()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of results.jsonl by their ids, each of which is there once."""
    found = lines(out / "results.jsonl")
    by_id = {line["custom_id"]: line for line in found}
    assert len(by_id) == len(found)
    return by_id


def errors(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of errors.jsonl by their ids, each of which is there once."""
    found = lines(out / "errors.jsonl")
    by_id = {line["custom_id"]: line for line in found}
    assert len(by_id) == len(found)
    return by_id


def answers(out: Path) -> dict[str, str]:
    return {
        item: str(line["response"]["body"]["choices"][0]["message"]["content"])
        for item, line in results(out).items()
    }


def ids(found: Sequence[dict[str, Any]]) -> list[str]:
    return [str(line["custom_id"]) for line in found]
