"""vLLM's way to media, narrowed to what the request at hand brought: data: URLs and handles of videos.

Whatever a client named has been fetched and checked before (`media`); should another URL ever get past that,
it ends here.
"""

import asyncio
from contextvars import ContextVar
from typing import Any

from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector

from server.request_media import RequestMedia

CONNECTOR_NAME = "internvl3"  # the connector's name in vLLM's registry


CURRENT_MEDIA: ContextVar[RequestMedia] = ContextVar("media")
"""Of the request that the running task answers: vLLM makes a connector by itself, so none can be given it."""


@MEDIA_CONNECTOR_REGISTRY.register(CONNECTOR_NAME)
class RequestMediaConnector(MediaConnector):
    """Reads a data: URL by itself and a video's handle from MEDIA."""

    def load_from_url(self, url: str, media_io: Any, **options: Any) -> Any:
        return super().load_from_url(_inline(url), media_io, **options)

    async def load_from_url_async(self, url: str, media_io: Any, **options: Any) -> Any:
        return await super().load_from_url_async(_inline(url), media_io, **options)

    async def fetch_image_async(self, image_url: str, **options: Any) -> Any:
        images = CURRENT_MEDIA.get().images
        if image_url not in images:
            images[image_url] = asyncio.create_task(super().fetch_image_async(image_url, **options))
        return await asyncio.shield(images[image_url])  # others may wait for it

    async def fetch_video_async(self, video_url: str, **options: Any) -> Any:
        video = CURRENT_MEDIA.get().videos.get(video_url)
        if video is None:
            raise ValueError("a video must come with its request")
        return video.tiles, {"times": video.times_F.tolist()}


def _inline(url: str) -> str:
    if not url.startswith("data:"):
        raise ValueError("media must be inline")
    return url
