"""vLLM's media connector, limited to data: URLs and to the videos of the current request.

`server/media` has fetched and checked all media before. The connector refuses every other URL, so that vLLM
fetches nothing even if a URL gets past those checks.
"""

import asyncio
from contextvars import ContextVar
from typing import Any

from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector

from server.request_media import RequestMedia

CONNECTOR_NAME = "internvl3"  # the connector's name in vLLM's registry

CURRENT_MEDIA: ContextVar[RequestMedia] = ContextVar("media")
"""The media of the request that the current task answers.

This is a context variable because vLLM creates the connector itself, so no argument can pass the media to it.
"""


@MEDIA_CONNECTOR_REGISTRY.register(CONNECTOR_NAME)
class RequestMediaConnector(MediaConnector):
    """Decodes data: URLs and finds videos by handle. It raises ValueError for other URLs."""

    def load_from_url(self, url: str, media_io: Any, **options: Any) -> Any:
        return super().load_from_url(_inline(url), media_io, **options)

    async def load_from_url_async(self, url: str, media_io: Any, **options: Any) -> Any:
        return await super().load_from_url_async(_inline(url), media_io, **options)

    async def fetch_image_async(self, image_url: str, **options: Any) -> Any:
        images = CURRENT_MEDIA.get().images
        if image_url not in images:
            images[image_url] = asyncio.create_task(super().fetch_image_async(image_url, **options))
        # Cancelling this call must not end the decoding, because others may wait for the same image.
        return await asyncio.shield(images[image_url])

    async def fetch_video_async(self, video_url: str, **options: Any) -> Any:
        video = CURRENT_MEDIA.get().videos.get(video_url)
        if video is None:
            raise ValueError("a video must come with its request: send it in a video_url part")
        return video.tiles, {"times": video.times_F.tolist()}


def _inline(url: str) -> str:
    if not url.startswith("data:"):
        raise ValueError("media must be inline: send a data: URL")
    return url
