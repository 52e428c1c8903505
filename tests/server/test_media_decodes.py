"""Policy, critic and all candidates share what was decoded of an image."""

import re

import httpx
import pytest

from tests.server.media.test_loader import data_url, encoded
from tests.server.test_end_to_end import CHAT, image_question

pytestmark = pytest.mark.engine


async def decodes(client: httpx.AsyncClient, kind: str) -> float:
    """Return how often the server has decoded an "image" or a "video"."""
    text = (await client.get("/metrics")).text
    found = re.findall(rf'^internvl3_media_decodes_total{{kind="{kind}"}} (\S+)$', text, re.M)
    return sum(map(float, found))


@pytest.mark.parametrize("extra", [{}, {"best_of": 3}], ids=["plain", "Best-of-3"])
async def test_an_image_is_decoded_once(client: httpx.AsyncClient, extra: dict):
    """vLLM's connector takes nothing but decoded images, so the server's own counter counts all decodes."""
    before = await decodes(client, "image")
    url = data_url(encoded("JPEG", (300, 210 + len(extra))), "image/jpeg")
    reply = await client.post(CHAT, json=image_question(url, url, **extra))
    assert reply.status_code == 200, reply.text
    assert await decodes(client, "image") == before + 1
