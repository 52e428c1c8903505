"""Why a server did not start, from logs as our server and `vllm serve` wrote them."""

import sys
from pathlib import Path

import pytest

from ttscaling.asking.local_server import running_process, wait_until_ready
from ttscaling.asking.start_failure import start_failure
from ttscaling.console import CommandError

OURS = """\
2026-11-28 16:00:00,000 INFO internvl3.server: loading nano from policy
2026-11-28 16:00:09,000 ERROR vllm.v1: EngineCore failed to start. ValueError: No common block size for 48.
internvl3: the policy policy did not start: ValueError: No common block size for 48.
"""
VLLM = """\
(APIServer pid=7) INFO 11-28 16:00:00 [utils.py:1] An ImportError: of no importance
(EngineCore pid=9) ERROR 11-28 16:00:05 [core.py:1510] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-28 16:00:05 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-28 16:00:05 [core.py:1510]   File "core.py", line 1, in run
(EngineCore pid=9) ERROR 11-28 16:00:05 [core.py:1510] ValueError: No common block size for 48.
(EngineCore pid=9) Process EngineCore:
(EngineCore pid=9) Traceback (most recent call last):
(EngineCore pid=9) ValueError: No common block size for 48.
(APIServer pid=7) Traceback (most recent call last):
(APIServer) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
SILENT = """\
(APIServer pid=7) Traceback (most recent call last):
(APIServer) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        (OURS, 1, "the policy policy did not start: ValueError: No common block size for 48."),
        (VLLM, 1, "ValueError: No common block size for 48."),
        ("torch.OutOfMemoryError: CUDA out of memory.\n", 1, "torch.OutOfMemoryError: CUDA out of memory."),
        ("one\ntwo\nthree\nfour\n", 1, "its log ends with: two / three / four"),
        ("loading\n", -9, "it was ended by SIGKILL; its log ends with: loading"),
        ("loading\n", None, "its log ends with: loading"),
    ],
)
def test_the_reason(tmp_path: Path, text: str, status: int | None, reason: str):
    log = tmp_path / "log"
    log.write_text(text)
    assert start_failure(log, status) == reason


def test_without_a_root_cause_the_end_of_the_log_is_quoted(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text(SILENT)
    assert "Failed core proc(s): {}" in start_failure(log, 1)


def test_a_server_that_ends_is_reported_with_its_reason_and_its_log(tmp_path: Path):
    log = tmp_path / "policy.log"
    code = "raise ValueError('no such model')"
    with (
        running_process([sys.executable, "-c", code], log) as server,
        pytest.raises(CommandError, match=r"ended while it started: ValueError: no such model .*policy\.log"),
    ):
        wait_until_ready("http://127.0.0.1:9/health", server, log)
