"""The frames of a video are taken in one pass, with the times that its packets have, and then kept."""

import asyncio
import io
import shutil
from bisect import bisect_right
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clients.video_jobs.frames.cache import FrameCache
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import read_facts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.frames.video_frames import FrameSource, VideoFrames
from tests.videos import CLIPS, SIZE, Clip, number_of, trim, write_sound, write_video

TAKE = Take(fps=4, side=SIZE[0], quality=95)


def source(folder: Path, take: Take = TAKE) -> FrameSource:
    return FrameSource(FrameCache(folder / "cache"), take)


def numbers(frames: VideoFrames) -> list[int]:
    """The numbers that the pixels of all frames encode."""
    jpegs = [Image.open(io.BytesIO(frames.jpeg(index))) for index in range(len(frames.times))]
    return [number_of(np.asarray(jpeg.convert("RGB"))) for jpeg in jpegs]


def shown_times(path: Path) -> list[float]:
    """When the frames are shown, in seconds from the first, from the packets by the simplest reader."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        assert stream.time_base
        pts = sorted(p.pts for p in file.demux(stream) if p.pts is not None and not p.is_discard)
        return [float((time - pts[0]) * stream.time_base) for time in pts]


@pytest.mark.parametrize("name", CLIPS)
async def test_takes_the_frames_that_are_shown_at_the_ticks(name: str, clip: Clip, tmp_path: Path):
    """Times and pixels both tell which frames these are, and both agree with an independent reading."""
    path = clip(name)
    times = shown_times(path)
    async with source(tmp_path).open(path) as frames:
        ticks = np.arange(0, frames.duration - 0.001, 1 / TAKE.fps)
        expected = sorted({bisect_right(times, tick + 0.001) - 1 for tick in ticks})
        assert numbers(frames) == expected
        assert frames.times == pytest.approx([times[number] for number in expected], abs=0.0011)
        assert frames.decode_passes == 1
        assert frames.stored.missing == 0


async def test_knows_a_variable_frame_rate(clip: Clip):
    assert (await read_facts(clip("varied.mp4"))).is_variable
    facts = await read_facts(clip("plain.mkv"))
    assert not facts.is_variable
    assert facts.times == pytest.approx(shown_times(clip("plain.mkv")))
    assert (facts.width, facts.height, facts.codec) == (*SIZE, "h264")


@pytest.mark.parametrize("suffix", ["ts", "flv", "mkv"])
async def test_a_restarting_clock_goes_on(suffix: str, tmp_path: Path):
    """Two recordings of 90 and 60 frames in one file are one video of 150 frames at one rate."""
    first = write_video(tmp_path / f"first.{suffix}", 90)
    second = write_video(tmp_path / f"second.{suffix}", 60)
    both = tmp_path / f"both.{suffix}"
    if suffix == "flv":
        # A second header isn't allowed in FLV; its tags begin after 13 bytes.
        both.write_bytes(first.read_bytes() + second.read_bytes()[13:])
    else:
        both.write_bytes(first.read_bytes() + second.read_bytes())
    async with source(tmp_path, Take(fps=30, side=SIZE[0])).open(both) as frames:
        assert numbers(frames) == [*range(90), *range(60)]
        steps = np.diff(frames.times)
        assert frames.duration == pytest.approx(5.0, abs=0.05)
        assert steps == pytest.approx(np.full(149, 1 / 30), abs=0.04)
        assert min(steps) > 0


async def test_hidden_frames_stay_hidden(clip: Clip, tmp_path: Path):
    path = trim(clip("plain.mp4"), tmp_path / "cut.mp4", 1.5)
    async with source(tmp_path).open(path) as frames:
        assert numbers(frames)[0] == 45
        assert frames.times[0] == 0.0


async def test_a_turned_video_is_upright(tmp_path: Path):
    path = write_video(tmp_path / "turned.mp4", 8, rotation=90)
    async with source(tmp_path, Take(fps=30, side=SIZE[0])).open(path) as frames:
        pixels = np.asarray(Image.open(io.BytesIO(frames.jpeg(3))).convert("RGB"))
        assert number_of(np.rot90(pixels, -1)) == 3


async def test_a_video_is_decoded_once(clip: Clip, tmp_path: Path):
    """A copy under another name is the same video, and questions at one time share the decode."""
    frames_of = source(tmp_path)
    copy = Path(shutil.copy(clip("plain.mp4"), tmp_path / "copy.mp4"))

    async def passes(path: Path) -> int:
        async with frames_of.open(path) as frames:
            return frames.decode_passes

    assert sorted(await asyncio.gather(*map(passes, [copy, clip("plain.mp4"), copy]))) == [0, 0, 1]
    async with source(tmp_path).open(copy) as frames:
        assert frames.decode_passes == 0
    async with source(tmp_path, Take(fps=2, side=SIZE[0])).open(copy) as frames:
        assert frames.decode_passes == 1


async def test_frames_can_be_read_after_the_cache_has_vanished(clip: Clip, tmp_path: Path):
    frames_of = source(tmp_path)
    async with frames_of.open(clip("plain.mp4")) as frames:
        shutil.rmtree(tmp_path / "cache")
        assert numbers(frames)[:2] == [0, 7]
    async with frames_of.open(clip("plain.mp4")) as frames:
        assert frames.decode_passes == 1


def _cut_off(path: Path, clip: Clip, name: str) -> Path:
    content = clip(name).read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


async def message_of(path: Path, folder: Path) -> VideoError:
    with pytest.raises(VideoError) as raised:
        async with source(folder).open(path):
            pass
    assert "\n" not in str(raised.value)
    return raised.value


async def test_bad_files_are_refused_with_what_to_do(clip: Clip, tmp_path: Path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    no_frames = tmp_path / "none.mp4"
    with av.open(no_frames, "w", options={"movflags": "empty_moov"}) as file:
        file.add_stream("libx264", rate=30, width=64, height=64, pix_fmt="yuv420p")
        file.start_encoding()
    for path, part in [
        (tmp_path / "missing.mp4", "No such file"),
        (tmp_path, "Is a directory"),
        (empty, "is empty"),
        (text, "no video that can be read"),
        (write_sound(tmp_path / "sound.mp4"), "only sound"),
        (_cut_off(tmp_path / "cut.mp4", clip, "plain.mp4"), "cut off"),
        (_cut_off(tmp_path / "cut.mkv", clip, "plain.mkv"), "cut off"),
        (no_frames, "has no frames"),
    ]:
        error = await message_of(path, tmp_path)
        assert part in str(error), path
        assert error.stage == "probe"
        assert not error.retryable
    assert not list((tmp_path / "cache").glob("*"))


async def test_a_file_that_grows_is_not_taken(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """More bytes come after the hash was made; the frames would belong to another content."""
    path = Path(shutil.copy(clip("plain.ts"), tmp_path / "growing.ts"))
    frames_of = source(tmp_path)
    made = frames_of.cache.unfinished

    def grows():
        with path.open("ab") as file:
            file.write(clip("plain.ts").read_bytes())
        return made()

    monkeypatch.setattr(frames_of.cache, "unfinished", grows)
    with pytest.raises(VideoError, match="changed while it was read") as raised:
        async with frames_of.open(path):
            pass
    assert raised.value.retryable
    assert not list((tmp_path / "cache").glob("*"))


async def test_a_black_video_is_a_video(tmp_path: Path):
    path = tmp_path / "black.mp4"
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    async with source(tmp_path).open(path) as frames:
        assert len(frames.times) == 40
        assert len(set(frames.looks)) == 1
