"""`internvl3 bench batch` kills clients and servers, and tells a run that lost or repeated something."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.batch import command
from bench.batch.clips import make_clips
from bench.batch.command import is_as_undisturbed
from bench.cli import app
from tests.clients.chat_server import Reply
from tests.clients.video_jobs.paid_server import PaidServer, echo


def slowly(body: dict[str, Any]) -> Reply:
    time.sleep(0.1)
    return echo(body)


def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run the benchmark in a folder of its own, and return its JSON."""
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    result = CliRunner().invoke(app, ["batch", "--seconds", "1", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout.rstrip("\n").split("\n")[-1])
    return report


def test_the_benchmark_with_a_server_that_answers_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "KillableServer", lambda log: PaidServer(slowly))
    report = bench(monkeypatch, tmp_path, "--videos", "20")
    assert report["undisturbed"]["requests"] == 20
    disturbed = report["disturbed"]
    assert (disturbed["kills"], disturbed["answers"], disturbed["twice"]) == (5, 20, 0)
    assert disturbed["equal"]
    assert report["two_shards"]["equal"]
    assert disturbed["repeated_requests"] <= disturbed["most_under_way"] == 20


@pytest.mark.engine
def test_nano_answers_alike_whatever_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = bench(monkeypatch, tmp_path, "--videos", "20", "--client-kills", "2", "--server-kills", "1")
    assert report["disturbed"]["answers"] == 20


@pytest.mark.parametrize(
    ("changed", "is_good"),
    [
        ({}, True),
        ({"equal": False}, False),
        ({"twice": 1}, False),
        ({"repeated_requests": 13}, False),
    ],
)
def test_what_is_as_undisturbed(changed: dict[str, Any], is_good: bool) -> None:
    disturbed = {"equal": True, "twice": 0, "repeated_requests": 12, "most_under_way": 12}
    assert is_as_undisturbed(disturbed | changed) is is_good


def test_no_two_clips_are_equal(tmp_path: Path) -> None:
    clips = sorted(make_clips(tmp_path, 3, 1).rglob("*.mp4"))
    assert len({clip.read_bytes() for clip in clips}) == 3
    before = [clip.stat().st_mtime_ns for clip in clips]
    make_clips(tmp_path, 3, 1)
    assert [clip.stat().st_mtime_ns for clip in clips] == before
