"""Fetch the images of a request, and decode each once in one of a few threads."""

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from PIL import Image

from server.request_media import HANDLE, LoadedImage, Media
from server.settings import Settings
from server.telemetry.logs import error_line
from server.telemetry.metrics import Metrics
from server.telemetry.tracing import span

from .budget import Budget
from .failures import MediaError
from .fetch import FetchLimits, FetchMeans
from .images import decode_image, media_type, open_image
from .message_parts import MediaPart
from .opened_file import OpenedFile
from .source import read_source

PIXEL_BYTES = 4  # of a decoded pixel in Pillow's memory


class ImageReader:
    """Reads images from URLs and files. It decodes at most `decode_threads` images at the same time."""

    def __init__(self, settings: Settings, metrics: Metrics, means: FetchMeans) -> None:
        self._settings = settings
        self._metrics = metrics
        self._means = means
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="internvl3-decode")

    async def fetch(self, media_part: MediaPart, budget: Budget) -> tuple[bytes, float]:
        """Return the bytes of an image, and the seconds that they took.

        Raises MediaError, or ApiError if the memory is used up.
        """
        data = BytesIO()

        def write(piece: bytes) -> None:
            budget.held.take(len(piece))
            data.write(piece)
            self._metrics.media.bytes.labels("image").inc(len(piece))

        async with budget.fetches:
            begun = time.perf_counter()
            limits = self.limits(media_part.param)
            if media_part.file is None:
                with span("fetch", kind="image"):
                    await read_source(media_part.url, write, limits, self._settings, self._means)
            elif media_part.file.size > limits.max_bytes:
                raise limits.too_large()
            else:
                write(await asyncio.to_thread(_content, media_part.file, media_part.param))
        return data.getvalue(), time.perf_counter() - begun

    async def read(self, data: bytes, media: Media, budget: Budget, param: str) -> tuple[str, LoadedImage]:
        """Return an image's handle and the image. One that `media` holds already is not decoded again.

        Raises MediaError (400 with `param`), or ApiError if the memory is used up.
        """

        def decode() -> tuple[str, LoadedImage]:
            opened = open_image(
                data, pixels_left=budget.left("pixels"), max_pixels=budget.limit("pixels"), param=param
            )
            handle = HANDLE + hashlib.sha256(data).hexdigest()
            known = media.get(handle)
            if isinstance(known, LoadedImage):
                return handle, known
            budget.held.take(pixel_bytes(opened))
            self._metrics.media.decodes.labels("image").inc()
            return handle, LoadedImage(decode_image(opened, param), data, media_type(opened))

        async with budget.turn:
            with span("decode", kind="image"):
                handle, image = await asyncio.get_running_loop().run_in_executor(self._threads, decode)
            budget.take("pixels", image.pixels.width * image.pixels.height, param=param)
        return handle, image

    def limits(self, param: str) -> FetchLimits:
        """Return the limits of one image; `param` is its field in the request."""
        settings = self._settings
        return FetchLimits(
            kind="image", max_bytes=settings.max_image_bytes, seconds=settings.fetch_seconds, param=param
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def pixel_bytes(image: Image.Image) -> int:
    """Return the memory of an image's pixels."""
    return PIXEL_BYTES * image.width * image.height


def _content(file: OpenedFile, param: str) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:  # it was deleted meanwhile, or the disk fails
        raise MediaError(
            "The server can't read the file. Retry in a few seconds, or upload it again.",
            kind="image",
            reason="storage",
            param=param,
            status=503,
            detail=error_line(error),
        ) from None
