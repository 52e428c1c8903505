"""A followed folder's new files are taken when they have finished growing, until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from clients.video_jobs.run.growing import GrowingFiles
from clients.video_jobs.run.options import Exit
from tests.clients.video_jobs.jobs import results, videos
from tests.clients.video_jobs.paid_server import PaidServer
from tests.clients.video_jobs.run.test_disturbances import wait_for

CODE = """
import sys
from pathlib import Path
from rich.console import Console
from clients.video_jobs.run import session
from tests.clients.video_jobs.jobs import options
from tests.clients.video_jobs.whole_video import whole_video
chosen = options(sys.argv[1], Path(sys.argv[2]), sys.argv[3], follow=True)
sys.exit(session.run_job(chosen, whole_video, Console(stderr=True)).code)
"""


def test_new_files_are_taken_until_ctrl_c(tmp_path: Path) -> None:
    folder, out = videos(tmp_path / "videos", 2), tmp_path / "out"
    with PaidServer() as server:
        client = subprocess.Popen([sys.executable, "-c", CODE, str(folder), str(out), server.url])
        wait_for(lambda: server.paid.total() == 2)
        (folder / "late.mp4").write_bytes(b"late")
        wait_for(lambda: (out / "results.jsonl").read_text().count("\n") == 3)
        client.send_signal(signal.SIGINT)
        assert client.wait() == Exit.INTERRUPTED
    assert sorted(results(out)) == ["000.mp4", "001.mp4", "late.mp4"]
    progress: dict[str, Any] = json.loads((out / "manifest.json").read_text())["progress"]
    assert progress == {"items": 3, "done": 3, "failed": 0, "left": 0}


def test_a_file_is_complete_when_it_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    at_once = GrowingFiles(seconds=0)
    assert not at_once.is_complete(path)
    path.touch()
    assert not at_once.is_complete(path)
    assert not at_once.is_complete(path)  # it stays empty
    path.write_bytes(b"vid")
    assert not at_once.is_complete(path)  # it has just grown
    path.write_bytes(b"video")
    assert not at_once.is_complete(path)
    assert at_once.is_complete(path)
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert not at_once.is_complete(path)  # it was written again
    assert not GrowingFiles(seconds=1000).is_complete(path)
