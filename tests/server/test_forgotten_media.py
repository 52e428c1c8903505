"""An image is answered although an earlier request with it never reached the engine.

vLLM sends the tiles of an image only with the first request that has the image. Here this first request is
refused after its prompt was rendered, so the engine has no tiles when the second request comes.
"""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.server.apps import events_of
from tests.server.media.test_loader import data_url
from tests.server.test_end_to_end import CHAT, image_question

pytestmark = pytest.mark.engine
NOWHERE = {"name": "a", "schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}}
REFUSED: dict[str, dict[str, Any]] = {
    "its grammar": {"response_format": {"type": "json_schema", "json_schema": NOWHERE}},
    "its length": {"max_tokens": 100_000},
}
ANSWERED: dict[str, dict[str, Any]] = {
    "plain": {},
    "streamed": {"stream": True},
    "three choices": {"n": 3},
    "three streamed choices": {"n": 3, "stream": True},
    "tools": {
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
    },
    "best of three": {"best_of": 3},
    "best of three, streamed": {"best_of": 3, "stream": True},
    "beam search": {"test_time_scaling": {"method": "beam_search", "n": 2}},
}


def new_image(seed: int) -> str:
    """Return an image that no other test sends."""
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return data_url(file.getvalue())


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.parametrize("kind", ANSWERED)
async def test_the_next_request_sends_it_again(client: httpx.AsyncClient, reason: str, kind: str):
    image = new_image(10 * list(ANSWERED).index(kind) + list(REFUSED).index(reason))
    refused = await client.post(CHAT, json=image_question(image, **REFUSED[reason]))
    assert refused.status_code == 400, refused.text
    body = {**image_question(image, max_tokens=8, seed=1), **ANSWERED[kind]}
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    if body.get("stream"):
        _, chunks = events_of(reply.text)
        assert [chunk["error"] for chunk in chunks if "error" in chunk] == []
        ended = [choice for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    else:
        ended = reply.json()["choices"]
    assert len(ended) == body.get("n", 1)
    assert {choice["finish_reason"] for choice in ended} <= {"stop", "length", "tool_calls"}


async def test_the_critic_gets_it_again(client: httpx.AsyncClient):
    """The first request is too long for the critic."""
    messages = image_question(new_image(1000))["messages"]
    long = await client.post("/v1/critic/score", json={"messages": messages, "answers": ["a " * 5000]})
    assert long.status_code == 400, long.text
    short = await client.post("/v1/critic/score", json={"messages": messages, "answers": ["One.\n\nTwo."]})
    assert short.status_code == 200 and len(short.json()["scores"][0]["step_scores"]) == 2, short.text
