"""Which processes there are: with their descendants, and without those that have ended."""

import os
import subprocess
import sys
from pathlib import Path

from bench.harness.processes import family, is_running


def test_a_family_is_a_process_and_its_descendants(tmp_path: Path):
    for pid, parent in ((1, 0), (10, 1), (30, 20), (20, 10), (11, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nPid:\t{pid}\nPPid:\t{parent}\n")
    assert set(family(10, tmp_path)) == {10, 20, 30}


def test_a_process_that_has_ended_runs_no_more_even_if_nobody_asked_how_it_ended():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_running(child.pid) and child.pid in family(os.getpid())
        child.kill()
        while is_running(child.pid):
            pass
    assert not is_running(child.pid)
