"""The child that reads a video ends with its task, and never hangs for ever."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import read_facts, take_frames
from clients.video_jobs.frames.take import Take
from tests.videos import Clip, write_video


def children() -> set[str]:
    """The ids of all living child processes."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


async def test_a_child_that_says_nothing_is_killed(clip: Clip):
    before = children()
    with pytest.raises(VideoError, match="stood still") as raised:
        await read_facts(clip("plain.mp4"), silence=1e-6)
    assert raised.value.stage == "decode"
    assert children() == before


async def test_a_cancelled_task_ends_its_child(clip: Clip, tmp_path: Path):
    before = children()
    task = asyncio.ensure_future(take_frames(clip("plain.mp4"), Take(), tmp_path))
    while children() == before:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before


def test_a_child_ends_with_its_parent(clip: Clip, tmp_path: Path):
    """A parent that is killed at once leaves no decoder behind, nor one that waits for nobody."""
    program = (
        "import asyncio, sys; from pathlib import Path; from clients.video_jobs.frames import reader;"
        "from clients.video_jobs.frames.take import Take;"
        "asyncio.run(reader.take_frames(Path(sys.argv[1]), Take(fps=60), Path(sys.argv[2])))"
    )
    long = write_video(tmp_path / "long.mp4", 3000)
    parent = subprocess.Popen([sys.executable, "-c", program, str(long), str(tmp_path)])
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (pids := listed.read_text().split()):
        pass
    parent.kill()
    parent.wait()
    for pid in pids:
        while (status := Path(f"/proc/{pid}/status")).exists():
            with suppress(OSError):
                if "State:\tZ" in status.read_text():
                    break


async def test_a_folder_that_vanishes_is_an_error(clip: Clip, tmp_path: Path):
    with pytest.raises(VideoError, match="can't be kept") as raised:
        await take_frames(clip("plain.mp4"), Take(), tmp_path / "gone")
    assert raised.value.stage == "cache"


@pytest.mark.parametrize("values", [{"fps": 0}, {"fps": 61}, {"side": 1}, {"quality": 0}])
def test_a_take_out_of_range_is_refused(values: dict):
    with pytest.raises(ValueError, match="must"):
        Take(**values)


async def test_modules_of_the_working_folder_are_not_imported(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "av.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    assert len((await read_facts(clip("plain.mp4"))).times) == 90
