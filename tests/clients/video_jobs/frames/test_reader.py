"""The child that reads a video ends with its task, and never hangs for ever."""

import asyncio
from pathlib import Path

import pytest

from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import read_facts, take_frames
from clients.video_jobs.frames.take import Take
from tests.videos import Clip


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


async def test_a_folder_that_vanishes_is_an_error(clip: Clip, tmp_path: Path):
    with pytest.raises(VideoError, match="can't be kept") as raised:
        await take_frames(clip("plain.mp4"), Take(), tmp_path / "gone")
    assert raised.value.stage == "cache"


@pytest.mark.parametrize("values", [{"fps": 0}, {"fps": 61}, {"side": 1}, {"quality": 0}])
def test_a_take_out_of_range_is_refused(values: dict):
    with pytest.raises(ValueError, match="must"):
        Take(**values)
