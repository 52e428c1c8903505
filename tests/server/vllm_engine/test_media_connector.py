"""The media connector gives vLLM the media of the current request and nothing else."""

import asyncio
from contextvars import copy_context

import numpy as np
import pytest
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

from server.request_media import RequestMedia
from server.vllm_engine.media_connector import CONNECTOR_NAME, CURRENT_MEDIA
from tests.server.media.test_loader import data_url, encoded
from tests.server.services.test_chat import VIDEOS

pytestmark = pytest.mark.engine  # these tests need no engine, but they import vLLM, which takes ten seconds


@pytest.fixture
def connector():
    CURRENT_MEDIA.set(RequestMedia(VIDEOS))
    return MEDIA_CONNECTOR_REGISTRY.load(CONNECTOR_NAME)


async def test_a_handle_becomes_tiles_and_times(connector):
    tiles, metadata = await connector.fetch_video_async("internvl3:key", video_processor=None)
    assert tiles is VIDEOS["internvl3:key"].tiles
    assert metadata == {"times": [0.0]}


async def test_a_handle_of_another_request_means_nothing(connector):
    async def another() -> None:
        CURRENT_MEDIA.set(RequestMedia({}))
        with pytest.raises(ValueError, match="come with its request"):
            await connector.fetch_video_async("internvl3:key")

    await asyncio.create_task(another(), context=copy_context())
    await connector.fetch_video_async("internvl3:key")


async def test_an_image_is_decoded_once(connector):
    url = data_url(encoded("PNG"))
    first, second = await asyncio.gather(*(connector.fetch_image_async(url) for _ in range(2)))
    assert first is second
    assert np.asarray(first.media).shape == (30, 40, 3)


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "file:///etc/passwd", "internvl3:key"])
async def test_nothing_is_fetched(connector, url):
    with pytest.raises(ValueError, match="inline"):
        await connector.fetch_image_async(url)
    with pytest.raises(ValueError, match="inline"):
        connector.fetch_image(url)
    if not url.startswith("internvl3:"):
        with pytest.raises(ValueError, match="come with its request"):
            await connector.fetch_video_async(url)
