"""Parts of messages that name a file by its id: its content says what it is, and it is read where it lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from model.video.frames import FrameRequest
from model.video.tiles import Video
from server.errors import ApiError
from server.media.loader import MediaLoader
from server.media.opened_file import OpenedFile
from server.request_media import LoadedImage, VideoOptions
from server.telemetry.metrics import Metrics
from tests.server.apps import settings
from tests.server.fakes import FakeEngine
from tests.server.media.test_loader import budget, data_url, encoded, read
from tests.videos import write_video

FOUR = VideoOptions(frames=FrameRequest(4), max_tiles=1)
PHOTO = encoded("JPEG")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files")
    write_video(path / "clip.mp4", 60).rename(path / "clip")
    (path / "photo").write_bytes(PHOTO)
    (path / "text").write_text("a line of text")
    return path


def part(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, kind: fields}


async def load(
    folder: Path, *parts: Mapping[str, Any], metrics: Metrics | None = None, **chosen: Any
) -> tuple[list[Any], list[Any]]:
    """Return the loaded parts of a message, and the media."""

    async def open_file(file_id: str, param: str) -> OpenedFile:
        path = folder / file_id
        if not path.is_file():
            raise ApiError("There is no such file.", param=param, code="file_not_found")
        return OpenedFile(id=file_id, path=path, size=path.stat().st_size)

    media = MediaLoader(settings(**chosen), metrics or Metrics())
    try:
        (message,), by_handle = await media.load(
            [{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}],
            FOUR,
            FakeEngine.tiling,
            budget(**chosen),
            vision={},
            open_file=open_file,
        )
    finally:
        media.close()
    return message["content"], list(by_handle.values())


@pytest.mark.parametrize("kind", ["file", "image_url"])
async def test_an_image(folder: Path, kind: str):
    (named, _), (image,) = await load(folder, part(kind, file_id="photo"))
    (inline,), _ = await read([{"role": "user", "content": [part("image_url", url=data_url(PHOTO))]}])
    assert isinstance(image, LoadedImage) and image.pixels.size == (40, 30)
    assert named == inline["content"][0], "the caches know it as the same image"


@pytest.mark.parametrize("kind", ["file", "video_url"])
async def test_a_video(folder: Path, kind: str):
    (named, _), (video,) = await load(folder, part(kind, file_id="clip"))
    assert named["type"] == "video_url" and isinstance(video, Video)
    (tmp,) = (
        await read(
            [{"role": "user", "content": [part("video_url", url=data_url((folder / "clip").read_bytes()))]}],
            FOUR,
        )
    )[1].values()
    assert isinstance(tmp, Video) and (tmp.tiles == video.tiles).all()


async def test_a_large_video_is_neither_copied_nor_limited_as_a_fetched_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.media.videos.NamedTemporaryFile", None)
    _, (video,) = await load(folder, part("file", file_id="clip"), max_video_bytes=100)
    assert isinstance(video, Video)


async def test_the_bytes_of_files_are_counted_when_they_are_read(folder: Path):
    metrics = Metrics()
    twice = [part("file", file_id="clip")] * 2
    await load(folder, part("file", file_id="photo"), *twice, metrics=metrics)
    text = metrics.render().decode()
    for kind, name in (("image", "photo"), ("video", "clip")):
        size = float((folder / name).stat().st_size)
        assert f'internvl3_media_bytes_total{{kind="{kind}"}} {size}\n' in text


async def test_files_count_as_what_they_are(folder: Path):
    both = part("file", file_id="photo"), part("file", file_id="clip")
    assert len((await load(folder, *both, max_images=1, max_videos=1))[1]) == 2
    for limit, code in (("max_images", "too_many_images"), ("max_videos", "too_many_videos")):
        none_of_them: dict[str, Any] = {limit: 0}
        with pytest.raises(ApiError) as refused:
            await load(folder, *both, **none_of_them)
        assert refused.value.code == code
    with pytest.raises(ApiError, match="hold 36 images and videos"):
        await load(folder, *[part("file", file_id="absent")] * 37)


@pytest.mark.parametrize(
    ("bad", "param", "code", "message"),
    [
        (part("file", file_id="absent"), "file.file_id", "file_not_found", "no such file"),
        (part("image_url", file_id="absent"), "image_url.file_id", "file_not_found", "no such file"),
        (part("file", file_id="text"), "file.file_id", "unsupported_file", "neither an image nor a video"),
        (part("image_url", file_id="clip"), "image_url.file_id", "unsupported_file", "video_url or file"),
        (part("video_url", file_id="photo"), "video_url.file_id", "unsupported_file", "image_url or file"),
        (part("file", file_data="data:,"), "file.file_id", "missing_required_parameter", "is missing"),
        (part("file"), "file.file_id", "missing_required_parameter", "is missing"),
        ({"type": "file", "file": "photo"}, "file.file_id", "missing_required_parameter", "is missing"),
        (part("file", file_id=5), "file.file_id", "invalid_value", "must be the id"),
        (part("image_url", file_id=""), "image_url.file_id", "invalid_value", "must be the id"),
        (part("image_url", file_id="photo", url="data:,"), "image_url.file_id", "invalid_value", "both"),
    ],
)
async def test_what_is_refused(folder: Path, bad: dict[str, Any], param: str, code: str, message: str):
    with pytest.raises(ApiError, match=message) as refused:
        await load(folder, bad)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert refused.value.param == f"messages[0].content[0].{param}"


async def test_a_large_image_is_refused_before_it_is_read(folder: Path):
    with pytest.raises(ApiError, match="larger than 100 bytes") as refused:
        await load(folder, part("file", file_id="photo"), max_image_bytes=100)
    assert refused.value.code == "image_too_large"


async def test_failures_are_counted(folder: Path):
    metrics = Metrics()
    with pytest.raises(ApiError):
        await load(folder, part("file", file_id="text"), metrics=metrics)
    sample = b'internvl3_media_failures_total{code="unsupported_file",kind="file",reason="limit"} 1.0'
    assert sample in metrics.render()


async def test_a_server_without_files_says_so():
    with pytest.raises(ApiError, match="--files") as refused:
        await read([{"role": "user", "content": [part("file", file_id="x")]}])
    assert (refused.value.status, refused.value.code) == (400, "no_files")
