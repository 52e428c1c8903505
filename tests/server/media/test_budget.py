"""No list inside a request multiplies a limit of images, tiles, frames, steps, characters, bytes or time."""

import asyncio
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.errors import ApiError
from server.media.budget import FETCHES
from server.media.in_flight import MIB, BytesInFlight
from server.media.loader import MediaLoader
from server.telemetry.metrics import Metrics
from tests.server.apps import app_with, client_of, settings
from tests.server.fakes import FakeCritic, FakeEngine
from tests.server.media.test_fetch import host
from tests.server.media.test_loader import PUBLISHED, budget, data_url, encoded, image_messages, read, refused
from tests.server.media.test_videos import video_messages, video_options
from tests.videos import write_video

SCORE = "/v1/critic/score"
LOCAL: dict[str, Any] = {"private_media_hosts": "127.0.0.0/8"}


def test_what_is_refused_is_not_taken():
    shared = budget(max_request_tiles=5)
    shared.take("tiles", 3)
    with pytest.raises(ApiError, match="hold 5 tiles, not 6") as refusal:
        shared.take("tiles", 3, param="here")
    assert (refusal.value.status, refusal.value.param, refusal.value.code) == (400, "here", "too_many_tiles")
    assert shared.left("tiles") == 2


async def test_tiles_of_all_images_count_as_the_request_has_them_cut():
    wide = image_messages(*[data_url(encoded("PNG", (300, 100)))] * 2)  # 3 tiles and a thumbnail each
    assert (await refused(wide, max_request_tiles=7)).code == "too_many_tiles"
    await read(wide, max_request_tiles=8)
    await read(wide, max_request_tiles=2, vision={"max_dynamic_patch": 1})
    await read(wide, max_request_tiles=2, max_total_tiles=2)


async def test_frames_and_tiles_of_all_videos_count(tmp_path: Path):
    clip = data_url(write_video(tmp_path / "clip.mp4", 20).read_bytes())
    eight = video_options(num_frames=8)
    error = await refused(video_messages(clip, clip), video_options=eight, max_request_frames=15)
    assert (error.code, error.param) == ("too_many_frames", "messages[0].content[1].video_url")
    error = await refused(video_messages(clip), video_options=eight, max_request_tiles=7)
    assert error.code == "too_many_tiles"


def test_one_request_may_not_take_all_of_the_servers_memory():
    memory = BytesInFlight(8, request_mib=2)
    with memory.request() as held:
        held.take(2 * MIB)
        with pytest.raises(ApiError) as refusal:
            held.take(1)
        assert (refusal.value.status, refusal.value.code) == (413, "request_too_large")
        assert memory.used == 2 * MIB


async def test_steps_and_characters_count_over_all_inputs():
    engine = FakeEngine(["x"], FakeCritic({"a\n\nb": (0.5, 0.5)}))
    question = {"messages": [{"role": "user", "content": "?"}], "answers": ["a\n\nb", ["a", "b"]]}
    batch = {"inputs": [question, question]}  # the question counts once for each of its answers
    for limit, code in (
        ({"max_request_steps": 7}, "too_many_steps"),
        ({"max_request_characters": 15}, "answers_too_long"),
    ):
        async with client_of(app_with(engine, **limit)) as client:
            first, second = (await client.post(SCORE, json=batch)).json()["data"]
        assert "scores" in first and second["error"]["code"] == code
    async with client_of(app_with(engine, max_request_steps=8, max_request_characters=16)) as client:
        assert all("scores" in entry for entry in (await client.post(SCORE, json=batch)).json()["data"])


async def test_images_are_fetched_side_by_side_but_not_all_at_once():
    """The host answers once as many requests wait as may be made at a time; in turn, none would end."""
    image = encoded("PNG")
    waiting, most = 0, 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting, most
        await reader.readuntil(b"\r\n\r\n")
        waiting += 1
        most = max(most, waiting)
        if waiting == FETCHES:
            full.set()
        await full.wait()
        await asyncio.sleep(0.05)  # time for a request too many to arrive
        waiting -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(image) + image)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (message,), _ = await read(image_messages(*[f"{url}/{n}" for n in range(2 * FETCHES)]), **LOCAL)
    assert len(message["content"]) == 2 * FETCHES + 1 and most == FETCHES


async def test_one_deadline_holds_for_all_media_of_a_request():
    async with host({}) as (port, _):
        hanging = image_messages(f"http://127.0.0.1:{port}/")
        chosen: dict[str, Any] = {**LOCAL, "fetch_seconds": 20, "media_seconds": 0.3}
        media, shared = MediaLoader(settings(**chosen), Metrics()), budget(**chosen)
        for _ in range(2):  # the second conversation of the request begins when the time is over
            with pytest.raises(ApiError, match=r"within 0.3 seconds") as error:
                await media.load(hanging, PUBLISHED, FakeEngine.tiling, shared, vision={})
            assert (error.value.status, error.value.code) == (504, "media_timeout")
        media.close()


@pytest.mark.parametrize("step", ["hashlib.sha256", "server.media.image_reader.decode_image"])
async def test_images_are_hashed_and_decoded_in_threads(step: str, monkeypatch: pytest.MonkeyPatch):
    """On the event loop that would let all other requests wait."""
    loop_is_here: list[bool] = []
    run: Callable[..., Any] = pydoc.locate(step)  # type: ignore[assignment]

    def spy(*arguments: Any) -> Any:
        try:
            asyncio.get_running_loop()
            loop_is_here.append(True)
        except RuntimeError:
            loop_is_here.append(False)
        return run(*arguments)

    monkeypatch.setattr(step, spy)
    await read(image_messages(data_url(encoded("BMP", (700, 700)))))
    assert loop_is_here == [False]


async def test_time_can_be_added_while_it_runs():
    of_request = budget(media_seconds=0.2)
    async with of_request.media_time():
        of_request.add_media_seconds(60)
        await asyncio.sleep(0.3)
    with pytest.raises(ApiError, match=r'within 0.2 seconds.*mode "keyframe"'):
        async with budget(media_seconds=0.2).media_time():
            await asyncio.Event().wait()
