"""The memory figure of `internvl3 bench long-video`; tests/server/test_video_end_to_end.py has the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.video.long_video import peak_mib


def process(folder: Path, pid: int, parent: int, mib: float) -> None:
    (folder / str(pid)).mkdir()
    status = f"Name:\tx\nPid:\t{pid}\nPPid:\t{parent}\nVmHWM:\t{round(mib * 1024)} kB\n"
    (folder / str(pid) / "status").write_text(status)


def test_memory_is_that_of_a_process_and_its_descendants(tmp_path: Path):
    process(tmp_path, 1, 0, 1000)
    process(tmp_path, 10, 1, 100)
    process(tmp_path, 30, 20, 7)  # It is listed before its parent is known to be a descendant.
    process(tmp_path, 20, 10, 50)
    process(tmp_path, 11, 1, 500)
    assert peak_mib(10, tmp_path) == pytest.approx(157)


def test_memory_of_a_real_process():
    with subprocess.Popen(
        [sys.executable, "-c", "x = b'x' * (64 << 20); input()"], stdin=subprocess.PIPE
    ) as child:
        while peak_mib(child.pid) < 64:
            assert child.poll() is None
        assert peak_mib(os.getpid()) > peak_mib(child.pid)
        child.communicate(b"\n")
