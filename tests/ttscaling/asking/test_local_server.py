"""A process that is run for a measurement has ended when its block has."""

import time
from pathlib import Path

import pytest

from ttscaling.asking import local_server
from ttscaling.asking.local_server import running_process

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


def test_a_process_that_ignores_sigterm_is_killed_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local_server, "STOP_SECONDS", 0.2)
    log = tmp_path / "log"
    with running_process(["sh", "-c", STUBBORN], log) as process:
        while "ready" not in log.read_text():
            time.sleep(0.01)
    assert process.returncode == -9, "its memory and its port are free again"
