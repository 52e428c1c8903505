"""Every image or video that fails is counted by a known reason, and the log says why."""

import logging
from tempfile import NamedTemporaryFile
from typing import Any

import pytest

from server.errors import ApiError
from server.media.failures import REASONS
from server.telemetry.metrics import Metrics
from tests.server.media.test_fetch import host, moved, ok
from tests.server.media.test_loader import data_url, encoded, image_messages, read
from tests.server.media.test_videos import video_messages

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


@pytest.mark.parametrize(("url", "reason"), URLS.items())
async def test_a_failure_is_counted_and_logged(url: str, reason: str, caplog: pytest.LogCaptureFixture):
    metrics = Metrics()
    with caplog.at_level(logging.INFO, "internvl3.media"):
        async with host(ANSWERS) as (port, _):
            with pytest.raises(ApiError):
                await read(
                    image_messages(url.replace("HOST", f"http://127.0.0.1:{port}")),
                    metrics=metrics,
                    private_media_hosts="127.0.0.0/8",
                    fetch_seconds=0.5,
                    max_image_bytes=4000,
                )
    assert reason in REASONS
    sample = f'internvl3_media_failures_total{{kind="image",reason="{reason}"}} 1.0'
    assert sample.encode() in metrics.render()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "internvl3.media"]
    assert line.startswith(f"image failed ({reason}): ")


async def test_too_many_pixels_in_all_are_a_limit_of_the_request():
    metrics = Metrics()
    with pytest.raises(ApiError):
        await read(image_messages(data_url(PNG), data_url(PNG)), metrics=metrics, max_pixels=1500)
    assert b'internvl3_media_failures_total{kind="image",reason="too_large"} 1.0' in metrics.render()


async def test_a_full_disk_is_the_servers_fault(monkeypatch: pytest.MonkeyPatch):
    """Once the client was told to check its URL."""

    def full(**options: Any) -> Any:
        file = NamedTemporaryFile(**options)  # noqa: SIM115
        monkeypatch.setattr(file, "write", lambda piece: (_ for _ in ()).throw(OSError(28, "No space left")))
        return file

    monkeypatch.setattr("server.media.videos.NamedTemporaryFile", full)
    metrics = Metrics()
    with pytest.raises(ApiError) as error:
        await read(video_messages(data_url(b"video")), metrics=metrics)
    assert (error.value.status, error.value.code) == (503, "server_busy")
    assert b'internvl3_media_failures_total{kind="video",reason="storage"} 1.0' in metrics.render()
