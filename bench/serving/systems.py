"""Send plain chat requests to a server, for `internvl3 bench serving`."""

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

from .servers import KEY

SIZES = {"text": None, "640 x 480": (640, 480), "1080p": (1920, 1080)}
ANSWER = {"max_tokens": 16, "ignore_eos": True, "temperature": 0}  # all answers have the same length
POLL_SECONDS = 0.02
TIMEOUT = 600.0


@dataclass(frozen=True)
class Requests:
    """The requests of one turn: their bodies, and how many of them run at the same time."""

    url: str
    in_flight: int
    bodies: Sequence[bytes]


@dataclass(frozen=True)
class Replies:
    """What came of one turn: the seconds to each first token, and the longest silence of /health."""

    first_token_seconds: Sequence[float]
    silence_seconds: float


class ChatServer:
    """A server that answers chat requests. Each turn asks about images that are new to it."""

    name: str

    def __init__(self) -> None:
        self._turns = 0

    def prepare(self, case: Mapping[str, Any]) -> Requests:
        self._turns += 1
        bodies = [
            json.dumps(_body(case["kind"], seed=10_000 * self._turns + index)).encode()
            for index in range(case["requests"])
        ]
        return Requests(case["servers"][self.name], case["in_flight"], bodies)

    def work(self, requests: Requests) -> Replies:
        with longest_silence(requests.url) as silences:
            seconds = asyncio.run(_send_all(requests))
        return Replies(seconds, max(silences))

    def summary(self, replies: Replies) -> dict[str, float]:
        ordered = sorted(replies.first_token_seconds)
        return {
            "first_token_ms": 1000 * ordered[len(ordered) // 2],
            "silence_ms": 1000 * replies.silence_seconds,
        }


class Ours(ChatServer):
    """Our server."""

    name = "ours"


class VllmServe(ChatServer):
    """vLLM's own server."""

    name = "vllm serve"


async def _send_all(requests: Requests) -> list[float]:
    """Send all requests and return the seconds to the first token of each."""
    limit = asyncio.Semaphore(requests.in_flight)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    connections = httpx.Limits(max_connections=requests.in_flight)
    async with httpx.AsyncClient(
        base_url=requests.url, headers=headers, timeout=TIMEOUT, limits=connections
    ) as client:

        async def send(body: bytes) -> float:
            async with limit:
                return await first_token_seconds(client, body)

        return list(await asyncio.gather(*map(send, requests.bodies)))


async def first_token_seconds(client: httpx.AsyncClient, body: bytes) -> float:
    """Read a streamed reply to its end and return the seconds to its first token.

    Raises RuntimeError with the server's message if the request failed or the reply has no token.
    """
    begun, first = time.perf_counter(), None
    async with client.stream("POST", "/v1/chat/completions", content=body) as reply:
        if reply.is_error:
            raise RuntimeError(f"HTTP {reply.status_code}: {(await reply.aread()).decode()[:200]}")
        async for line in reply.aiter_lines():
            if first is None and '"content":"' in line and '"content":""' not in line:
                first = time.perf_counter() - begun
    if first is None:
        raise RuntimeError("a reply had no token")
    return first


@contextmanager
def longest_silence(url: str) -> Iterator[list[float]]:
    """Ask the server's /health every 20 ms beside the block, and yield the list of the seconds per answer."""
    seconds, ended = [0.0], threading.Event()

    def ask() -> None:
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=TIMEOUT
        ) as client:
            while not ended.wait(POLL_SECONDS):
                begun = time.perf_counter()
                client.get("/health").raise_for_status()
                seconds.append(time.perf_counter() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield seconds
    finally:
        ended.set()
        asking.join()


def _body(kind: str, *, seed: int) -> dict[str, Any]:
    size = SIZES[kind]
    image = [] if size is None else [{"type": "image_url", "image_url": {"url": image_url(size, seed)}}]
    text = {"type": "text", "text": f"What is the sum of row {seed}?"}
    return {
        "model": "nano",
        "messages": [{"role": "user", "content": [*image, text]}],
        "stream": True,
        **ANSWER,
    }


def image_url(size: tuple[int, int], seed: int) -> str:
    """Return a JPEG of this width and height as a data: URL; each seed has another picture."""
    width, height = size
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
