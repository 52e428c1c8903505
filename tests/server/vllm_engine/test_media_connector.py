"""The media connector gives vLLM the media of the current request and nothing else."""

import asyncio
from contextvars import copy_context

import pytest
from PIL import Image
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

from server.request_media import LoadedImage
from server.vllm_engine.media_connector import CONNECTOR_NAME, CURRENT_MEDIA
from tests.server.media.test_loader import data_url, encoded, image_messages, read
from tests.server.services.test_chat import VIDEOS

IMAGE = Image.new("RGB", (4, 3))
pytestmark = pytest.mark.engine  # these tests need no engine, but they import vLLM, which takes ten seconds


@pytest.fixture
def connector():
    CURRENT_MEDIA.set({**VIDEOS, "internvl3:image": LoadedImage(IMAGE, b"", "image/png")})
    return MEDIA_CONNECTOR_REGISTRY.load(CONNECTOR_NAME)


async def test_a_handle_becomes_tiles_and_times(connector):
    tiles, metadata = await connector.fetch_video_async("internvl3:key", video_processor=None)
    assert tiles is VIDEOS["internvl3:key"].tiles
    assert metadata == {"times": [0.0]}


async def test_a_handle_of_another_request_means_nothing(connector):
    async def another() -> None:
        CURRENT_MEDIA.set({})
        with pytest.raises(ValueError, match="come with its request"):
            await connector.fetch_video_async("internvl3:key")

    await asyncio.create_task(another(), context=copy_context())
    await connector.fetch_video_async("internvl3:key")


async def test_a_handle_becomes_the_decoded_image(connector):
    assert await connector.fetch_image_async("internvl3:image") is IMAGE


async def test_policy_and_critic_see_the_image_that_was_decoded_for_its_check(connector, decoded_images):
    (message,), media = await read(image_messages(data_url(encoded("JPEG"))))
    CURRENT_MEDIA.set(media)
    handle = message["content"][0]["image_url"]["url"]
    policy, *critic = [await connector.fetch_image_async(handle) for _ in range(4)]
    assert all(image is policy for image in critic) and policy.tobytes()
    assert decoded_images == ["JPEG"]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "file:///etc/passwd", "data:image/png;base64,iVBORw0KGgo=", "internvl3:"],
)
async def test_nothing_is_fetched_or_decoded(connector, url):
    with pytest.raises(ValueError, match="come with their request"):
        connector.fetch_image(url)
    for fetch in (connector.fetch_image_async, connector.fetch_video_async):
        with pytest.raises(ValueError, match="come with its request"):
            await fetch(url)


async def test_a_handle_of_the_other_kind_means_nothing(connector):
    with pytest.raises(ValueError, match="a video must come"):
        await connector.fetch_video_async("internvl3:image")
    with pytest.raises(ValueError, match="an image must come"):
        await connector.fetch_image_async("internvl3:key")
