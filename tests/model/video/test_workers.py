"""The decoding processes return the same frames, and a clear error however they end."""

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from model.images.tiling import TilingConfig
from model.video.file import VideoBounds, VideoError
from model.video.frames import FrameRequest
from model.video.order import VideoOrder
from model.video.tiles import Video, read_video
from model.video.worker import HEAD
from model.video.workers import FILES, DecodeWorkers
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


async def isolated(
    path: Path,
    request: FrameRequest,
    tiling: TilingConfig,
    *,
    seconds: float = 60,
    memory_mib: int = 2048,
    **order,
) -> Video:
    """Return a video from a process that is started for it and ended behind it."""
    workers = DecodeWorkers(1, memory_mib=memory_mib)
    try:
        return await workers.read(
            VideoOrder(path=path, request=request, tiling=tiling, **order), seconds=seconds
        )
    finally:
        workers.close()


async def start(heavy: Path) -> tuple[asyncio.Task, int]:
    """Start to decode, and return the task and the id of its process."""
    before = children()
    task = asyncio.create_task(
        isolated(heavy, FrameRequest(FRAMES), TilingConfig(640, 1, 1, False), limit=FRAMES)
    )
    while not (new := children() - before):
        await asyncio.sleep(0.01)
    return task, new.pop()


@pytest.mark.parametrize("backend", ["pyav", "decord"])
async def test_the_result_is_the_same_as_without_a_process(clip: Clip, backend):
    request, path = FrameRequest(9, mode="keyframe"), clip("varied.mkv")
    video = await isolated(path, request, TILING, limit=512, backend=backend)
    direct = read_video(path, request, TILING, limit=512, backend=backend)
    np.testing.assert_array_equal(video.tiles, direct.tiles)
    np.testing.assert_array_equal(video.times_F, direct.times_F)
    assert vars(video).keys() == vars(direct).keys()
    assert all(
        getattr(video, name) == value
        for name, value in vars(direct).items()
        if name not in ("tiles", "times_F")
    )


async def test_relative_paths_and_arrays_to_write_into(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(clip("plain.mp4").parent)
    video = await isolated(Path("plain.mp4"), FrameRequest(3), TILING, limit=512)
    video.tiles[:] = 7  # The memory belongs to the receiver alone.
    assert video.tiles.sum() == 7 * video.tiles.size


async def test_nothing_stays_open(clip: Clip):
    async def read() -> None:
        await isolated(clip("plain.mp4"), FrameRequest(3), TILING, limit=512)

    others = children()
    await read()
    before = set(os.listdir("/proc/self/fd"))
    await asyncio.gather(read(), read())
    assert set(os.listdir("/proc/self/fd")) == before
    assert children() <= others


async def test_errors_of_the_process_are_raised_unchanged(clip: Clip, tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"not a video.*Send a complete"):
        await isolated(tmp_path / "text.mp4", FrameRequest(), TILING, limit=9)
    with pytest.raises(VideoError, match="more than 5 frames"):
        bounds = VideoBounds(max_frames=5)
        await isolated(clip("plain.mp4"), FrameRequest(), TILING, limit=9, bounds=bounds)


@pytest.mark.parametrize(
    ("mode", "advice"),
    [("exact", r'keyframes \(mode "keyframe"\).*fewer frames'), ("keyframe", "fewer frames.*shorter clip")],
)
async def test_a_deadline_ends_the_process_and_the_message_names_what_helps(heavy: Path, mode, advice):
    others = children()
    with pytest.raises(VideoError, match=f"longer than 0.05 s. Ask for {advice}"):
        request = FrameRequest(FRAMES, mode=mode)
        await isolated(heavy, request, TILING, limit=FRAMES, seconds=0.05)
    assert children() <= others


async def test_memory_has_a_limit(heavy: Path):
    """The tiles alone need 703 MiB."""
    with pytest.raises(VideoError, match=r"more than 400 MiB of memory.*fewer frames"):
        tiling = TilingConfig(640, 1, 1, use_thumbnail=False)
        await isolated(heavy, FrameRequest(FRAMES), tiling, limit=FRAMES, memory_mib=400)


async def test_frames_are_never_all_held_at_their_own_size(heavy: Path):
    """All frames as RGB would take 527 MiB."""
    tiling = TilingConfig(28, 1, 1, use_thumbnail=False)
    video = await isolated(heavy, FrameRequest(FRAMES), tiling, limit=FRAMES, memory_mib=400)
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
    tiling = TilingConfig(640, 1, 1, use_thumbnail=False)
    order = pickle.dumps(VideoOrder(path=heavy, request=FrameRequest(FRAMES), tiling=tiling, limit=FRAMES))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "model.video.worker", "4096", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        shared = os.memfd_create("tiles")
        # The process adds one second, so that the parent's deadline comes first.
        socket.send_fds(ours, [HEAD.pack(len(order), -0.9)], [shared])
        os.close(shared)
        ours.sendall(order)
        assert process.wait() == -signal.SIGALRM


def test_an_idle_process_ends_with_its_parent():
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "model.video.worker", "4096", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    ours.close()
    assert process.wait() == 0


@pytest.fixture
def workers() -> Iterator[DecodeWorkers]:
    pool = DecodeWorkers(1)
    yield pool
    pool.close()


async def test_one_process_reads_many_files(clip: Clip, workers: DecodeWorkers):
    others = children()
    videos = []
    for name in ("plain.mp4", "varied.mkv", "plain.mp4"):
        order = VideoOrder(path=clip(name), request=FrameRequest(5), tiling=TILING, limit=9)
        videos.append(await workers.read(order))
        (process,) = children() - others
    assert len(children() - others) == 1 and process
    expected = [
        read_video(clip(name), FrameRequest(5), TILING, limit=9) for name in ("plain.mp4", "varied.mkv")
    ]
    for video, direct in zip(videos, [*expected, expected[0]], strict=True):
        np.testing.assert_array_equal(video.tiles, direct.tiles)


async def test_a_process_is_replaced_after_a_bad_file(clip: Clip, tmp_path: Path, workers: DecodeWorkers):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    others = children()

    async def read(path: Path) -> int:
        """Return the process that is ready for the next file."""
        with suppress(VideoError):
            await workers.read(VideoOrder(path=path, request=FrameRequest(5), tiling=TILING, limit=9))
        (process,) = children() - others
        return process

    good = clip("plain.mp4")
    first = await read(good)
    assert await read(good) == first
    second = await read(tmp_path / "bad.mp4")
    assert second != first and await read(good) == second


async def test_a_process_is_replaced_after_many_files(clip: Clip, workers: DecodeWorkers):
    others = children()
    order = VideoOrder(path=clip("plain.mp4"), request=FrameRequest(1), tiling=TILING, limit=9)
    processes = []
    for _ in range(FILES + 1):
        await workers.read(order)
        processes.append(children() - others)
    assert all(process == processes[0] for process in processes[: FILES - 1])
    assert processes[FILES - 1] == processes[FILES] != processes[0]


async def test_a_process_that_died_while_it_waited_costs_nothing(clip: Clip, workers: DecodeWorkers):
    others = children()
    order = VideoOrder(path=clip("plain.mp4"), request=FrameRequest(1), tiling=TILING, limit=9)
    await workers.read(order)
    (process,) = children() - others
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # until all of its threads have ended
    assert len((await workers.read(order)).tiles) == 1


async def test_no_more_processes_than_allowed(heavy: Path):
    workers, others = DecodeWorkers(2), children()
    order = VideoOrder(
        path=heavy, request=FrameRequest(40), tiling=TilingConfig(28, 1, 1, use_thumbnail=False), limit=FRAMES
    )
    running = [asyncio.create_task(workers.read(order)) for _ in range(5)]
    most = 0
    while not all(task.done() for task in running):
        most = max(most, len(children() - others))
        await asyncio.sleep(0.01)
    assert [len(task.result().tiles) for task in running] == [40] * 5 and most == 2
    workers.close()
    assert children() <= others


def test_the_process_imports_no_large_packages():
    code = "import sys, model.video.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "vllm", "transformers", "decord", "pydantic"} & set(loaded.split())
