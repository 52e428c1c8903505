"""The cache stays below its limit, and an entry that isn't complete is none."""

import os
from pathlib import Path

import pytest
from PIL import Image

from clients.video_jobs.frames.cache import ABANDONED, UNFINISHED, FrameCache
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.stored import INDEX, PIXELS, write_frames, write_index
from clients.video_jobs.frames.take import Take

FACTS = {
    "duration": 2.0,
    "codec": "h264",
    "width": 64,
    "height": 48,
    "is_variable": False,
    "missing": 0,
    "decode_seconds": 0.1,
}


def add(cache: FrameCache, name: str, colours: tuple[str, ...] = ("red", "blue")) -> None:
    with cache.unfinished() as folder:
        images = (
            (float(second), Image.new("RGB", (16, 16), colour)) for second, colour in enumerate(colours)
        )
        write_index(folder, write_frames(folder, images, Take()) | FACTS)
        cache.add(name, folder).close()


def size_of(entry: Path) -> int:
    return sum(file.stat().st_size for file in entry.iterdir())


def is_kept(cache: FrameCache, name: str) -> bool:
    frames = cache.find(name)
    if frames is not None:
        frames.close()
    return frames is not None


def test_drops_what_was_used_longest_ago(tmp_path: Path):
    add(FrameCache(tmp_path), "first")
    cache = FrameCache(tmp_path, max_bytes=size_of(tmp_path / "first") * 5 // 2)
    add(cache, "second")
    for age, name in enumerate(["second", "first"]):
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert is_kept(cache, "first")  # which makes it the one that was used last
    add(cache, "third")
    assert {name: is_kept(cache, name) for name in ("first", "second", "third")} == {
        "first": True,
        "second": False,
        "third": True,
    }


def test_an_entry_larger_than_the_limit_can_be_used(tmp_path: Path):
    cache = FrameCache(tmp_path, max_bytes=1)
    with cache.unfinished() as folder:
        write_index(folder, write_frames(folder, [(0.0, Image.new("RGB", (16, 16), "red"))], Take()) | FACTS)
        frames = cache.add("only", folder)
    assert frames.jpeg(0).startswith(b"\xff\xd8")
    frames.close()
    add(cache, "next")
    assert not is_kept(cache, "only")


@pytest.mark.parametrize("file", [INDEX, PIXELS])
def test_an_entry_without_all_of_its_bytes_is_made_again(file: str, tmp_path: Path):
    cache = FrameCache(tmp_path)
    add(cache, "entry")
    content = (tmp_path / "entry" / file).read_bytes()
    (tmp_path / "entry" / file).write_bytes(content[:-10])
    assert not is_kept(cache, "entry")
    add(cache, "entry")
    assert is_kept(cache, "entry")


def test_removes_what_killed_processes_left_a_day_ago(tmp_path: Path):
    for name, age in (("old", ABANDONED * 2), ("new", 0.0)):
        folder = tmp_path / f"{UNFINISHED}{name}"
        folder.mkdir()
        if age:
            os.utime(folder, (1000, 1000))
    add(FrameCache(tmp_path), "entry")
    assert {path.name for path in tmp_path.iterdir()} == {"entry", f"{UNFINISHED}new"}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(VideoError, match="Name another folder"),
        FrameCache(tmp_path / "file" / "cache").unfinished(),
    ):
        pass


def test_frames_that_come_out_of_order_are_put_in_order(tmp_path: Path):
    images = (
        (seconds, Image.new("RGB", (16, 16), colour)) for seconds, colour in ((1.0, "white"), (0.0, "black"))
    )
    write_index(tmp_path, write_frames(tmp_path, images, Take()) | FACTS)
    cache = FrameCache(tmp_path.parent)
    frames = cache.find(tmp_path.name)
    assert frames is not None
    assert frames.times == (0.0, 1.0)
    (tmp_path / "first.jpg").write_bytes(frames.jpeg(0))
    assert Image.open(tmp_path / "first.jpg").convert("L").getpixel((8, 8)) == 0
    frames.close()
