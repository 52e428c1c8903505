"""The decoding process returns the same frames, and a clear error however it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.images.tiling import TilingConfig
from model.video.file import VideoBounds, VideoError
from model.video.frames import FrameRequest
from model.video.tiles import read_video
from model.video.worker import read_video_isolated
from tests.videos import TILING, Clip, write_video

FRAMES = 600


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of FRAMES frames of 900 KiB each, whose decoding takes seconds."""
    path = tmp_path_factory.mktemp("heavy") / "heavy.mp4"
    return write_video(path, FRAMES, size=(640, 480), options={"preset": "ultrafast", "bf": "2", "g": "300"})


def children() -> set[int]:
    """Return the ids of the processes that this one has started and not yet waited for.

    multiprocessing's resource tracker, which stays until the end, is left out. Other tests of the same run
    may have left some that end meanwhile.
    """
    pids = {
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }
    return {pid for pid in pids if not is_resource_tracker(pid)}


def is_resource_tracker(pid: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return False


async def start(heavy: Path) -> tuple[asyncio.Task, int]:
    """Start to decode, and return the task and the id of its process."""
    before = children()
    task = asyncio.create_task(
        read_video_isolated(heavy, FrameRequest(FRAMES), TilingConfig(640, 1, 1, False), limit=FRAMES)
    )
    while not (new := children() - before):
        await asyncio.sleep(0.01)
    return task, new.pop()


@pytest.mark.parametrize("backend", ["pyav", "decord"])
async def test_the_result_is_the_same_as_without_a_process(clip: Clip, backend):
    request, path = FrameRequest(9, mode="keyframe"), clip("varied.mkv")
    isolated = await read_video_isolated(path, request, TILING, limit=512, backend=backend)
    direct = read_video(path, request, TILING, limit=512, backend=backend)
    np.testing.assert_array_equal(isolated.tiles, direct.tiles)
    np.testing.assert_array_equal(isolated.times_F, direct.times_F)
    assert vars(isolated).keys() == vars(direct).keys()
    assert all(
        getattr(isolated, name) == value
        for name, value in vars(direct).items()
        if name not in ("tiles", "times_F")
    )


async def test_relative_paths_and_arrays_to_write_into(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(clip("plain.mp4").parent)
    video = await read_video_isolated("plain.mp4", FrameRequest(3), TILING, limit=512)
    video.tiles[:] = 7  # The memory belongs to the receiver alone.
    assert video.tiles.sum() == 7 * video.tiles.size


async def test_nothing_stays_open(clip: Clip):
    async def read() -> None:
        await read_video_isolated(clip("plain.mp4"), FrameRequest(3), TILING, limit=512)

    others = children()
    await read()
    before = set(os.listdir("/proc/self/fd"))
    await asyncio.gather(read(), read())
    assert set(os.listdir("/proc/self/fd")) == before
    assert children() <= others


async def test_errors_of_the_process_are_raised_unchanged(clip: Clip, tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"not a video.*Send a complete"):
        await read_video_isolated(tmp_path / "text.mp4", FrameRequest(), TILING, limit=9)
    with pytest.raises(VideoError, match="more than 5 frames"):
        bounds = VideoBounds(max_frames=5)
        await read_video_isolated(clip("plain.mp4"), FrameRequest(), TILING, limit=9, bounds=bounds)


@pytest.mark.parametrize(
    ("mode", "advice"),
    [("exact", r'keyframes \(mode "keyframe"\).*fewer frames'), ("keyframe", "fewer frames.*shorter clip")],
)
async def test_a_deadline_ends_the_process_and_the_message_names_what_helps(heavy: Path, mode, advice):
    others = children()
    with pytest.raises(VideoError, match=f"longer than 0.05 s. Ask for {advice}"):
        request = FrameRequest(FRAMES, mode=mode)
        await read_video_isolated(heavy, request, TILING, limit=FRAMES, seconds=0.05)
    assert children() <= others


async def test_memory_has_a_limit(heavy: Path):
    """The tiles alone need 703 MiB."""
    with pytest.raises(VideoError, match=r"more than 400 MiB of memory.*fewer frames"):
        tiling = TilingConfig(640, 1, 1, use_thumbnail=False)
        await read_video_isolated(heavy, FrameRequest(FRAMES), tiling, limit=FRAMES, memory_mib=400)


async def test_frames_are_never_all_held_at_their_own_size(heavy: Path):
    """All frames as RGB would take 527 MiB."""
    tiling = TilingConfig(28, 1, 1, use_thumbnail=False)
    video = await read_video_isolated(heavy, FrameRequest(FRAMES), tiling, limit=FRAMES, memory_mib=400)
    assert len(video.tiles) == FRAMES


async def test_cancelling_kills_the_process(heavy: Path):
    task, pid = await start(heavy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pid not in children() and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("end", "message"), [(signal.SIGSEGV, "decoder crash"), (signal.SIGKILL, "MiB of memory")]
)
async def test_a_crash_becomes_an_error(heavy: Path, end: signal.Signals, message: str):
    task, pid = await start(heavy)
    os.kill(pid, end)
    with pytest.raises(VideoError, match=message):
        await task


def test_the_process_ends_itself_without_a_parent(heavy: Path):
    order = {
        "path": str(heavy),
        "request": {"num_frames": FRAMES},
        "tiling": {"tile_size": 640, "min_tiles": 1, "max_tiles": 1, "use_thumbnail": False},
        "limit": FRAMES,
        "backend": "pyav",
        "bounds": {},
        "seconds": -0.9,  # The process adds one second, so that the parent's deadline comes first.
        "memory_mib": 4096,
        "shared": 1,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "model.video.worker", json.dumps(order)], capture_output=True
    )
    assert ended.returncode == -signal.SIGALRM


def test_the_process_imports_no_large_packages():
    code = "import sys, model.video.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "vllm", "transformers", "decord", "pydantic"} & set(loaded.split())
