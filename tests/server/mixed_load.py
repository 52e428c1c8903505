"""24 different requests at once, as many clients of a server send them, and the faults in its replies."""

import asyncio
import io
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.server.apps import events_of
from tests.server.media.test_loader import data_url
from tests.server.test_end_to_end import CHAT, image_question

LEAVE_SECONDS = 0.6  # clients that leave do so at a random moment up to this
NOWHERE = {"name": "a", "schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}}
NO_SCHEMA = {"type": "json_schema", "json_schema": NOWHERE}
BODIES: Sequence[tuple[int, dict[str, Any]]] = (  # how many of them, and what they send beside the image
    (4, {}),
    (4, {"stream": True}),
    (2, {"best_of": 8}),
    (2, {"best_of": 8, "stream": True}),
    (1, {"test_time_scaling": {"method": "self_consistency", "n": 4}}),
    (1, {"test_time_scaling": {"method": "weighted_vote", "n": 4}, "stream": True}),
    (1, {"n": 3, "stream": True}),
)
BAD: Sequence[dict[str, Any]] = (
    {"v2pe_delta": 2},
    {"v2pe_delta": -1, "stream": True},
    {"top_p": 7},
    {"response_format": NO_SCHEMA, "stream": True},
)
LEAVING: Sequence[dict[str, Any]] = ({}, {"stream": True}, {"best_of": 8}, {"best_of": 8, "stream": True})


async def faults_of_mixed_load(client: httpx.AsyncClient, seed: int) -> list[str]:
    """Send the requests together and return one line for each reply that is wrong; none if all is well.

    All of them ask about one of two images that the server sees for the first time. Between them come
    clients that leave, JPEG files of random bytes, and requests that the server refuses.
    """
    images = [_noise(seed, index) for index in range(2)]
    chance = random.Random(seed)
    calls: list[Callable[[], Awaitable[str | None]]] = []

    def body(**extra: Any) -> dict[str, Any]:
        asked = {"max_tokens": 16, "seed": 1, **extra}
        return image_question(chance.choice(images), **asked)

    for count, extra in BODIES:
        calls += [_expecting(client, body(**extra), 200) for _ in range(count)]
    calls += [_expecting(client, body(**extra), 400) for extra in BAD]
    calls += [
        _leaving(client, body(max_tokens=1000, ignore_eos=True, **extra), chance.uniform(0, LEAVE_SECONDS))
        for extra in LEAVING
    ]
    broken = data_url(b"\xff\xd8\xff" + chance.randbytes(2000))
    calls.append(_expecting(client, image_question(broken), 400))
    chance.shuffle(calls)
    faults = await asyncio.gather(*(call() for call in calls))
    return [fault for fault in faults if fault is not None]


def _expecting(
    client: httpx.AsyncClient, body: dict[str, Any], status: int
) -> Callable[[], Awaitable[str | None]]:
    async def call() -> str | None:
        sent = {name: value for name, value in body.items() if name not in ("messages", "model")}
        reply = await client.post(CHAT, json=body)
        if reply.status_code != status:
            return f"{sent}: {reply.status_code} {reply.text[:300]}"
        if status == 200 and body.get("stream"):
            _, chunks = events_of(reply.text)
            return next((f"{sent}: {chunk}" for chunk in chunks if "error" in chunk), None)
        return None

    return call


def _leaving(
    client: httpx.AsyncClient, body: dict[str, Any], seconds: float
) -> Callable[[], Awaitable[str | None]]:
    async def call() -> str | None:
        try:
            async with asyncio.timeout(seconds), client.stream("POST", CHAT, json=body) as reply:
                async for _ in reply.aiter_bytes():
                    pass
        except TimeoutError:
            return None
        return None if reply.status_code == 200 else f"a client that leaves got {reply.status_code}"

    return call


def _noise(seed: int, index: int) -> str:
    pixels = np.random.default_rng((seed, index)).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return data_url(file.getvalue())
