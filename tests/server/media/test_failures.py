"""Every request that is refused for its media is counted once by code and reason, and the log says why."""

import json
import logging
import resource
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.errors import ApiError
from server.media.budget import Budget
from server.media.failures import CODES
from server.media.in_flight import MIB, BytesInFlight, HeldBytes
from server.media.loader import MediaLoader
from server.telemetry.metrics import Metrics
from tests.file_limit import files_up_to
from tests.server.apps import free_ticket, question, settings
from tests.server.fakes import FakeEngine
from tests.server.media.test_fetch import host, moved, ok
from tests.server.media.test_loader import PUBLISHED, data_url, encoded, image_messages, read
from tests.server.media.test_videos import video_messages, video_options
from tests.server.running import RunningServer
from tests.videos import write_video

CHAT = "/v1/chat/completions"

PNG = encoded("PNG")
ANSWERS = {
    "/missing": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "/cut": ok()[:-3],
    "/large": ok(bytes(5000)),
    "/zipped": ok(PNG, "Content-Encoding: gzip"),
    "/text": ok(b"text"),
} | {f"/moved{n}": moved(f"/moved{n + 1}") for n in range(5)}
URLS = {
    "ftp://example.com/x.png": "url",
    "http://10.0.0.1/x.png": "host",
    "http://8.8.8.8:22/x.png": "port",
    "HOST/cut": "network",
    "HOST/silent": "timeout",
    "HOST/missing": "status",
    "HOST/moved0": "redirects",
    "HOST/zipped": "compressed",
    "data:image/png;base64,###": "base64",
    "HOST/large": "too_large",
    "HOST/text": "invalid",
}


def failures(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    """Return the counts of failures by kind, code and reason."""
    return {
        (sample.labels["kind"], sample.labels["code"], sample.labels["reason"]): sample.value
        for metric in metrics.media.failures.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize(("url", "reason"), URLS.items())
async def test_a_failure_is_counted_and_logged(url: str, reason: str, caplog: pytest.LogCaptureFixture):
    metrics = Metrics()
    with caplog.at_level(logging.INFO, "internvl3.media"):
        async with host(ANSWERS) as (port, _):
            with pytest.raises(ApiError) as error:
                await read(
                    image_messages(url.replace("HOST", f"http://127.0.0.1:{port}")),
                    metrics=metrics,
                    private_media_hosts="127.0.0.0/8",
                    fetch_seconds=0.5 if reason == "timeout" else 60,
                    max_image_bytes=4000,
                )
    assert error.value.code == CODES[reason].replace("KIND", "image")
    assert failures(metrics) == {("image", error.value.code, reason): 1}
    (line,) = [record.getMessage() for record in caplog.records if record.name == "internvl3.media"]
    assert line.startswith(f"image failed ({reason}): ")


async def test_too_many_pixels_in_all_are_a_limit_of_the_request():
    metrics = Metrics()
    with pytest.raises(ApiError):
        await read(image_messages(data_url(PNG), data_url(PNG)), metrics=metrics, max_pixels=1500)
    assert failures(metrics) == {("image", "image_too_large", "too_large"): 1}


@pytest.mark.parametrize("size", [1000, 2**20], ids=["while it is closed", "while it is written"])
@pytest.mark.parametrize("source", ["inline", "fetched"])
async def test_a_full_disk_is_the_servers_fault(size: int, source: str):
    """A small video is in the buffer until its file is read or closed; a large one is written before."""
    video, metrics = bytes(2 * size), Metrics()
    async with host({"/": ok(video)}) as (port, _):
        url = data_url(video) if source == "inline" else f"http://127.0.0.1:{port}/"
        with files_up_to(size), pytest.raises(ApiError) as error:
            await read(video_messages(url), metrics=metrics, private_media_hosts="127.0.0.0/8")
    assert (error.value.status, error.value.code) == (503, "server_busy")
    assert failures(metrics) == {("video", "server_busy", "storage"): 1}


async def test_a_temporary_file_that_cannot_be_opened_is_the_servers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    metrics = Metrics()
    with pytest.raises(ApiError) as error:
        await read(video_messages(data_url(b"video")), metrics=metrics)
    assert (error.value.status, error.value.code) == (503, "server_busy")
    assert failures(metrics) == {("video", "server_busy", "storage"): 1}


CLIP = {"video_options": video_options(num_frames=8)}
LIMITS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], tuple[str, str, str]]] = {
    "images": (
        image_messages(data_url(PNG), data_url(PNG)),
        {"max_images": 1},
        ("image", "too_many_images", "limit"),
    ),
    "videos": (video_messages("data:,", "data:,"), {"max_videos": 1}, ("video", "too_many_videos", "limit")),
    "tiles of images": (
        image_messages(data_url(encoded("PNG", (300, 100)))),
        {"max_request_tiles": 3},
        ("image", "too_many_tiles", "limit"),
    ),
    "tiles of frames": ([], {"max_request_tiles": 7, **CLIP}, ("video", "too_many_tiles", "limit")),
    "frames": ([], {"max_request_frames": 7, **CLIP}, ("video", "too_many_frames", "limit")),
    "time for images": (
        image_messages("HOST/silent"),
        {"media_seconds": 0.2, "fetch_seconds": 20},
        ("image", "media_timeout", "limit"),
    ),
    "time for videos": (
        video_messages("HOST/silent"),
        {"media_seconds": 0.2, "fetch_video_seconds": 20},
        ("video", "media_timeout", "limit"),
    ),
    "no URL": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"detail": "low"}}]}],
        {},
        ("image", "invalid_image_url", "url"),
    ),
    "several at once": (
        image_messages(*["ftp://example.com/x.png"] * 3),
        {},
        ("image", "invalid_image_url", "url"),
    ),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_every_other_refusal_of_media_counts_once(name: str, tmp_path: Path):
    messages, limits, counted = LIMITS[name]
    if not messages:
        messages = video_messages(data_url(write_video(tmp_path / "clip.mp4", 20).read_bytes()))
    metrics = Metrics()
    async with host({}) as (port, _):
        located = json.loads(json.dumps(messages).replace("HOST", f"http://127.0.0.1:{port}"))
        with pytest.raises(ApiError) as error:
            await read(located, metrics=metrics, private_media_hosts="127.0.0.0/8", **limits)
    assert error.value.code == counted[1]
    assert failures(metrics) == {counted: 1}


@pytest.mark.parametrize(("request_mib", "code"), [(1, "request_too_large"), (None, "server_busy")])
async def test_the_memory_of_a_request_and_of_the_server_are_limits(request_mib: int | None, code: str):
    metrics, messages = Metrics(), image_messages(data_url(encoded("BMP", (700, 700))))
    media = MediaLoader(settings(), metrics)
    budget = Budget(settings(), HeldBytes(BytesInFlight(1, request_mib=request_mib)), free_ticket())
    with pytest.raises(ApiError) as error:
        await media.load(messages, PUBLISHED, FakeEngine.tiling, budget, vision={})
    media.close()
    assert error.value.code == code
    assert failures(metrics) == {("image", code, "limit"): 1}


@pytest.mark.engine
async def test_a_full_disk_on_a_running_server(server: RunningServer, client: httpx.AsyncClient):
    """The reply is an error of OpenAI's format, and the next request works."""
    messages = video_messages(data_url(bytes(20 * MIB)))
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (16 * MIB, hard))
    try:
        reply = await client.post(CHAT, json=question(messages=messages))
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["code"]) == (503, "server_error", "server_busy")
    assert error["param"] == "messages[0].content[0].video_url" and reply.headers["retry-after"]
    assert (await client.post(CHAT, json=question(max_tokens=4))).status_code == 200
