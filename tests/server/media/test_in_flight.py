"""What all running requests hold together is bounded, and free again when each ends."""

import asyncio
import json
from io import BytesIO

import httpx
import pytest
from PIL import Image

from server.errors import ApiError
from server.media.in_flight import MIB, BytesInFlight, RequestOver
from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeEngine
from tests.server.media.test_loader import data_url, encoded

CHAT = "/v1/chat/completions"


def test_requests_share_the_limit_and_give_it_back():
    memory = BytesInFlight(1)
    with memory.request() as first:
        first.take(MIB // 2)
        with memory.request() as second, pytest.raises(ApiError) as refused:
            second.take(MIB // 2)
            second.take(1)
        assert (refused.value.status, refused.value.code) == (503, "server_busy")
        assert memory.used == MIB // 2, "the second request gave back what it held"
        first.take(MIB // 2)
    assert memory.used == 0


def padded(size: int, **fields: object) -> bytes:
    """A request body of about so many bytes."""
    return json.dumps(question(metadata={"padding": "x" * size}, **fields)).encode()


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await client.post(CHAT, content=body, headers={"content-type": "application/json"})


async def in_flight(client: httpx.AsyncClient) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith("internvl3_bytes_in_flight ")).split()[1])


async def test_a_body_that_finds_no_room_is_asked_to_come_again():
    waiting = FakeEngine([None])
    async with client_of(app_with(waiting, in_flight_mib=3)) as client:
        running = asyncio.create_task(post(client, padded(2 * MIB)))
        await waiting.running.wait()
        assert await in_flight(client) > 2 * MIB
        refused = await post(client, padded(2 * MIB))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
        assert refused.headers["retry-after"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        while await in_flight(client):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_held_after_a_reply(stream: bool):
    async with client_of(app_with(FakeEngine(["yes"]), in_flight_mib=3)) as client:
        for _ in range(4):
            assert (await post(client, padded(2 * MIB, stream=stream))).status_code == 200
        assert await in_flight(client) == 0


async def test_images_count_too():
    image = {"type": "image_url", "image_url": {"url": data_url(encoded("BMP", (700, 700)))}}
    body = json.dumps({"messages": [{"role": "user", "content": [image]}]}).encode()
    async with client_of(app_with(FakeEngine(["yes"]), in_flight_mib=5)) as client:
        reply = await post(client, body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large"), "it never fits"
    async with client_of(app_with(FakeEngine(["yes"]), in_flight_mib=7)) as client:
        assert (await post(client, body)).status_code == 200


async def test_decoded_pixels_count_too():
    """A picture of one colour has few bytes as a file, and many once it is decoded."""
    file = BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "PNG")
    image = {"type": "image_url", "image_url": {"url": data_url(file.getvalue())}}
    body = json.dumps({"messages": [{"role": "user", "content": [image]}]}).encode()
    async with client_of(app_with(FakeEngine(["yes"]), in_flight_mib=15)) as client:
        assert (await post(client, body)).status_code == 413
    async with client_of(app_with(FakeEngine(["yes"]), in_flight_mib=17)) as client:
        assert (await post(client, body)).status_code == 200


def test_a_request_that_has_ended_holds_nothing_more():
    """A thread may go on decoding for a request whose client has left."""
    memory = BytesInFlight(1)
    with memory.request() as held:
        held.take(5)
    with pytest.raises(RequestOver):
        held.take(5)
    assert memory.used == 0
