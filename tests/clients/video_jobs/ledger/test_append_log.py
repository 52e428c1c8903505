"""A line is on the disk when `append` returns, and whatever a kill or a full disk tears is passed over."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.ledger.append_log import AppendLog, DiskFull, LogInUse
from tests.file_limit import files_up_to

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
LINES = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=4)


def content_of(path: Path) -> list[dict]:
    with AppendLog(path) as log:
        return [line for _, line in log.lines()]


@given(LINES, LINES, st.data())
def test_a_tail_torn_at_any_byte_loses_its_own_line_only(
    before: list[dict], after: list[dict], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with AppendLog(path) as log:
            ends = [log.append(line) + len(json.dumps(line).encode()) for line in before]
        cut = data.draw(st.integers(0, path.stat().st_size), label="cut")
        os.truncate(path, cut)
        with AppendLog(path) as log:
            starts = [log.append(line) for line in after]
            whole = [line for line, end in zip(before, ends, strict=True) if end <= cut]
            assert [line for _, line in log.lines()] == whole + after
            assert [log.read(start) for start in starts] == after


@given(st.integers(0, 60), st.binary(max_size=20))
def test_bytes_that_are_no_line_are_passed_over(cut: int, garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        first, second = {"kind": "step", "text": "Grüße\n"}, {"kind": "done"}
        path.write_bytes(json.dumps(first).encode()[:cut] + b"\0" + garbage.replace(b"{", b"") + b"\n")
        with AppendLog(path) as log:
            log.append(second)
        assert content_of(path) == [second]


def test_a_killed_process_leaves_every_line_that_it_has_written(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from clients.video_jobs.ledger.append_log import AppendLog\n"
        "log = AppendLog(Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    log.append({'number': number})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "log"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert content_of(path) == [{"number": number} for number in range(20)]


def test_only_one_process_writes(tmp_path: Path) -> None:
    with AppendLog(tmp_path / "log"), pytest.raises(LogInUse, match="another run works in"):
        AppendLog(tmp_path / "log")
    with AppendLog(tmp_path / "log") as log:  # closed, so it is free again
        log.append({})


def test_a_full_disk_is_told_and_loses_nothing_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AppendLog(path) as log:
        log.append({"number": 1})
        with files_up_to(path.stat().st_size + 10), pytest.raises(DiskFull, match="make room") as full:
            log.append({"text": "x" * 100})
        assert not full.value.is_written
        log.append({"number": 2})
    assert content_of(path) == [{"number": 1}, {"number": 2}]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_the_reserve_takes_what_was_paid_for(small_disk: Path) -> None:
    path, reply = small_disk / "log", {"reply": "x" * 1000}
    with AppendLog(path) as log:
        with (
            (small_disk / "filler").open("wb", buffering=0) as filler,
            pytest.raises(OSError, match="No space"),
        ):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(DiskFull) as full:
            for _ in range(10):  # the last page of the file has room for some
                log.append(reply)
        assert full.value.is_written
        log.append({"kind": "stop"})
        lines = [line for _, line in log.lines()]
    assert lines[-2:] == [reply, {"kind": "stop"}]


def test_without_room_for_the_reserve_nothing_begins(tmp_path: Path) -> None:
    with files_up_to(1000), pytest.raises(DiskFull):
        AppendLog(tmp_path / "log")
