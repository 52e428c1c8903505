"""A full disk ends a run with what was paid for written, and the same command goes on when there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.video_jobs.run.options import Exit
from tests.clients.chat_server import Reply, completion
from tests.clients.video_jobs.jobs import errors, options, results, run, videos
from tests.clients.video_jobs.paid_server import PaidServer, hash_of

LONG = 100_000  # characters of an answer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_nothing_is_paid_twice_when_the_disk_fills_up(small_disk: Path, tmp_path: Path) -> None:
    def long_answer(body: dict[str, Any]) -> Reply:
        return Reply(completion(hash_of(body) + "x" * LONG))

    job, out = videos(tmp_path / "videos", 20), small_disk / "out"
    with PaidServer(long_answer) as server:
        ending, _ = run(options(job, out, server.url, concurrency=2))
        assert ending.code == Exit.STOPPED_EARLY
        assert "the disk is full: make room" in (ending.message or "")
        assert 0 < ending.answered < 20
        assert ending.failed == 0
        ending, _ = run(options(job, out, server.url, concurrency=2))
        assert ending.code == Exit.STOPPED_EARLY
        subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
        ending, _ = run(options(job, out, server.url))
        assert (ending.code, ending.answered) == (Exit.ALL_GOOD, 20)
        assert max(server.paid.values()) == 1
    assert len(results(out)) == 20
    assert errors(out) == {}
    assert all(line["video"]["attempts"] == 1 for line in results(out).values())
