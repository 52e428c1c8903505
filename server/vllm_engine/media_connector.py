"""vLLM's media connector, limited to the decoded images and videos of the current request.

`server/media` has fetched, checked and decoded all media before. The connector refuses every URL, so that
vLLM fetches and decodes nothing even if a URL gets past those checks.
"""

from contextvars import ContextVar
from typing import Any

from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector

from model.video.tiles import Video
from server.request_media import LoadedImage, Media

CONNECTOR_NAME = "internvl3"  # the connector's name in vLLM's registry

CURRENT_MEDIA: ContextVar[Media] = ContextVar("media")
"""The media of the request that the current task answers.

This is a context variable because vLLM creates the connector itself, so no argument can pass the media to it.
"""


@MEDIA_CONNECTOR_REGISTRY.register(CONNECTOR_NAME)
class RequestMediaConnector(MediaConnector):
    """Finds images and videos by handle. It raises ValueError for everything else."""

    def load_from_url(self, url: str, media_io: Any, **options: Any) -> Any:
        raise ValueError("media must come with their request: send them in its messages")

    async def load_from_url_async(self, url: str, media_io: Any, **options: Any) -> Any:
        return self.load_from_url(url, media_io)

    async def fetch_image_async(self, image_url: str, **options: Any) -> Any:
        image = CURRENT_MEDIA.get().get(image_url)
        if not isinstance(image, LoadedImage):
            raise ValueError("an image must come with its request: send it in an image_url part")
        return image.pixels

    async def fetch_video_async(self, video_url: str, **options: Any) -> Any:
        video = CURRENT_MEDIA.get().get(video_url)
        if not isinstance(video, Video):
            raise ValueError("a video must come with its request: send it in a video_url part")
        return video.tiles, {"times": video.times_F.tolist()}
