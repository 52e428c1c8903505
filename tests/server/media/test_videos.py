"""Loading the videos of a conversation: good ones become tiles behind a handle, others are refused."""

import asyncio
import base64
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.images.tiling import TilingConfig
from model.media_in_text import INLINE
from model.video.extracted import FrameTiming
from model.video.file import VideoError
from model.video.frames import FrameRequest
from model.video.order import VideoOrder
from model.video.tiles import Video, read_video
from model.video.workers import DecodeWorkers
from server.media.loader import MediaLoader
from server.request_media import VideoOptions
from server.telemetry.metrics import Metrics
from tests.server.apps import settings
from tests.server.fakes import FakeEngine
from tests.server.media.test_fetch import host, ok
from tests.server.media.test_loader import budget, data_url, encoded, read, refused
from tests.videos import write_video

LOCAL: dict[str, Any] = {"private_media_hosts": "127.0.0.0/8"}
FOUR = VideoOptions(frames=FrameRequest(4), max_tiles=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 60).read_bytes()


def video_messages(*urls: str) -> list[dict]:
    videos = [{"type": "video_url", "video_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*videos, {"type": "text", "text": "What happens?"}]}]


def video_options(max_tiles: int = 1, **frames) -> VideoOptions:
    return VideoOptions(frames=FrameRequest(**frames), max_tiles=max_tiles)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of these tests have a folder of their own: other servers may run on the machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def temporary_files() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("internvl3-video-*"))


async def test_a_video_becomes_a_handle_and_its_tiles(clip, tmp_path):
    (message,), videos = await read(video_messages(data_url(clip, "video/mp4")), video_options(num_frames=8))
    part, text = message["content"]
    handle = part["video_url"]["url"]
    assert part == {
        "type": "video_url",
        "video_url": {"url": handle},
        "uuid": handle.removeprefix("internvl3:"),
        INLINE: False,
    }
    assert text == {"type": "text", "text": "What happens?"}
    (tmp_path / "clip.mp4").write_bytes(clip)
    expected = read_video(
        tmp_path / "clip.mp4", FrameRequest(num_frames=8), TilingConfig(56, 1, 1, True), limit=8
    )
    assert np.array_equal(videos[handle].tiles, expected.tiles)
    assert videos[handle].tiles.shape == (8, 1, 56, 56, 3)
    assert not temporary_files()


async def test_the_published_32_frames_by_default(clip):
    _, videos = await read(video_messages(data_url(clip)))
    (video,) = videos.values()
    assert len(video.tiles) == 32


async def test_fetched_and_inline_are_the_same_video_and_other_options_another(clip):
    async with host({"/clip.mp4": ok(clip)}) as (port, requests):
        _, fetched = await read(video_messages(f"http://127.0.0.1:{port}/clip.mp4"), **LOCAL)
    assert b"accept: video/*" in requests[0].lower()
    _, same = await read(video_messages(data_url(clip)))
    assert fetched.keys() == same.keys()
    for options in (video_options(num_frames=31), video_options(mode="keyframe"), video_options(max_tiles=2)):
        _, other = await read(video_messages(data_url(clip)), options)
        assert not other.keys() & same.keys()


async def test_limits_of_the_server_win_over_the_request(clip):
    _, videos = await read(
        video_messages(data_url(clip)), video_options(num_frames=50, max_tiles=4), max_frames=10
    )
    (video,) = videos.values()
    assert video.tiles.shape[:2] == (10, 5), "2 x 2 and a thumbnail"
    _, videos = await read(
        video_messages(data_url(clip)), video_options(fps=30.0, max_tiles=4), max_frames=10, max_tiles=1
    )
    (video,) = videos.values()
    assert video.tiles.shape[:2] == (10, 1)


async def test_images_and_videos_keep_their_places(clip):
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("PNG"))}}
    (message,) = video_messages(data_url(clip), data_url(clip))
    content = [message["content"][0], image, *message["content"][1:]]
    (message,), media = await read([{**message, "content": content}], video_options(num_frames=2))
    assert [part["type"] for part in message["content"]] == ["video_url", "image_url", "video_url", "text"]
    assert [type(medium) for medium in media.values()].count(Video) == 1, "the same bytes twice are one video"


@pytest.mark.parametrize(
    "data", [b"", b"not a video", b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", encoded("PNG"), "cut"]
)
async def test_what_is_no_video(data, clip):
    if data == "cut":
        data = clip[: len(clip) * 2 // 3]  # the index at the end of the file is missing
    metrics = Metrics()
    error = await refused(video_messages(data_url(data, "video/mp4")), metrics=metrics)
    assert error.code == "invalid_video" and error.param == "messages[0].content[0].video_url"
    assert "/" not in error.message.replace("http(s)", ""), "the message must not show a path of the server"
    sample = b'internvl3_media_failures_total{code="invalid_video",kind="video",reason="invalid"} 1.0'
    assert sample in metrics.render()
    assert not temporary_files()


@pytest.mark.parametrize(
    "url",
    [
        "internvl3:0123456789abcdef",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://10.0.0.1/v.mp4",
        "data:video/mp4,plain",
        "data:video/mp4;base64,###",
        "rtsp://example.org/live",
    ],
)
async def test_urls_that_are_not_read(url):
    error = await refused(video_messages(url))
    assert error.param == "messages[0].content[0].video_url"


async def test_too_many_bytes_and_too_many_videos(clip):
    url = data_url(clip)
    error = await refused(video_messages(url), max_video_bytes=1000)
    assert error.code == "video_too_large" and "1000 bytes" in error.message
    async with host({"/": ok(clip)}) as (port, _):
        fetched = await refused(video_messages(f"http://127.0.0.1:{port}/"), max_video_bytes=1000, **LOCAL)
    assert fetched.code == "video_too_large"
    assert "1 videos, not 2" in (await refused(video_messages(url, url), max_videos=1)).message


async def test_deadlines_name_themselves(clip):
    error = await refused(video_messages(data_url(clip)), video_seconds=0.01, video_frame_seconds=0)
    assert error.code == "invalid_video" and "0.01 s" in error.message
    async with host({}) as (port, _):
        slow = await refused(video_messages(f"http://127.0.0.1:{port}/"), fetch_video_seconds=0.2, **LOCAL)
    assert "within 0.2 seconds" in slow.message
    assert not temporary_files()


async def test_a_client_that_leaves_ends_the_decoding(clip):
    reading = asyncio.create_task(read(video_messages(data_url(clip))))
    while not (workers := decoders()):
        assert not reading.done()
        await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert not workers & decoders() and not temporary_files()


async def test_no_more_videos_at_a_time_than_set(clip):
    media = MediaLoader(settings(decode_processes=1, max_videos=1), Metrics())
    loading = [
        asyncio.create_task(
            media.load(
                video_messages(data_url(clip)),
                video_options(num_frames=n),
                FakeEngine.tiling,
                budget(),
                vision={},
            )
        )
        for n in (2, 3, 4)
    ]
    decoder_counts = []
    while not all(task.done() for task in loading):
        decoder_counts.append(len(decoders()))
        await asyncio.sleep(0.01)
    media.close()
    assert max(decoder_counts) == 1
    videos = [video for task in loading for video in task.result()[1].values() if isinstance(video, Video)]
    assert [len(video.tiles) for video in videos] == [2, 3, 4]


def frames_url(*numbers: int) -> str:
    """Return frames of a video as vLLM takes them; each has another size as a file."""
    frames = [encoded("JPEG", (40 + number, 30)) for number in numbers]
    return "data:video/jpeg;base64," + ",".join(base64.b64encode(frame).decode() for frame in frames)


async def test_frames_that_the_client_has_extracted():
    timing = FrameTiming(fps=2.0, frames_indices=(4, 6, 9), total_num_frames=20)
    options = VideoOptions(frames=FrameRequest(), timing=timing, max_tiles=1)
    url = frames_url(0, 1, 2)
    (message,), media = await read(video_messages(url), options)
    ((handle, video),) = media.items()
    assert message["content"][0]["video_url"]["url"] == handle
    assert isinstance(video, Video) and video.times_F.tolist() == [2.0, 3.0, 4.5]
    assert video.tiles.shape == (3, 1, 56, 56, 3)
    _, same = await read(video_messages(url), options)
    _, others = await read(video_messages(url))
    assert same.keys() == media.keys() and not others.keys() & media.keys(), "the times are part of it"
    assert not temporary_files()


@pytest.mark.parametrize(
    ("url", "limits", "code", "message"),
    [
        (frames_url(1, 2, 3), {"max_frames": 2}, "too_many_frames", "2 frames, not 3"),
        (frames_url(1, 2), {"max_pixels": 1250}, "invalid_video", "Frame 1 of the video.*1250 pixels"),
        (frames_url(1, 2), {"max_video_bytes": 900}, "video_too_large", "900 bytes"),
        (frames_url(1) + ",", {}, "invalid_video", "Frame 1 of the video"),
        (frames_url(1) + ",###", {}, "invalid_base64_video", "base64"),
        ("data:video/jpeg;base64,", {}, "invalid_video", "Frame 0 of the video"),
        ("data:video/jpeg,AAAA", {}, "invalid_base64_video", "wrong form"),
    ],
)
async def test_extracted_frames_that_are_refused(url: str, limits: dict[str, Any], code: str, message: str):
    error = await refused(video_messages(url), **limits)
    assert (error.code, error.param) == (code, "messages[0].content[0].video_url")
    assert re.search(message, error.message), error.message


@pytest.fixture
def loader() -> Iterator[tuple[MediaLoader, Metrics]]:
    metrics = Metrics()
    media = MediaLoader(settings(), metrics)
    yield media, metrics
    media.close()


def decode_passes(metrics: Metrics) -> float:
    return metrics.media.decodes.labels("video")._value.get()


async def ask(media: MediaLoader, url: str, options: VideoOptions = FOUR, salt: str | None = None) -> Video:
    _, media_by_handle = await media.load(
        video_messages(url), options, FakeEngine.tiling, budget(), vision={}, salt=salt
    )
    (video,) = media_by_handle.values()
    assert isinstance(video, Video)
    return video


async def test_ten_questions_on_a_video_decode_it_once(clip, loader):
    media, metrics = loader
    url = data_url(clip)
    videos = [await ask(media, url) for _ in range(5)]
    videos += await asyncio.gather(*(ask(media, url) for _ in range(5)))
    assert decode_passes(metrics) == 1 and all(video is videos[0] for video in videos)
    await ask(media, url, video_options(num_frames=5))
    assert decode_passes(metrics) == 2, "other frames are another decode"
    await ask(media, url, salt="another key")
    assert decode_passes(metrics) == 3


async def test_questions_at_the_same_time_share_a_decode(clip, loader):
    media, metrics = loader
    videos = await asyncio.gather(*(ask(media, data_url(clip)) for _ in range(10)))
    assert decode_passes(metrics) == 1 and all(video is videos[0] for video in videos)
    assert not temporary_files()


async def test_what_is_asked_for_decides_the_time(clip, monkeypatch: pytest.MonkeyPatch):
    limits = []

    async def note(workers: DecodeWorkers, order: VideoOrder, *, seconds: float) -> Video:
        limits.append(seconds)
        raise VideoError("noted")

    monkeypatch.setattr(DecodeWorkers, "read", note)
    chosen = {"video_seconds": 10, "video_frame_seconds": 2}
    for options in (video_options(num_frames=8), video_options(fps=1.0, num_frames=None)):
        await refused(video_messages(data_url(clip)), video_options=options, **chosen)
    await refused(video_messages(frames_url(1, 2, 3)), **chosen)
    assert limits == [10 + 2 * 8, 10 + 2 * 512, 10 + 2 * 3]


def decoders() -> set[int]:
    """Return the process ids of this process's decoders."""
    pids: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"model.video.worker" in command:
            pids.add(int(entry.name))
    return pids
