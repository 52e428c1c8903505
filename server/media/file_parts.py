"""Open the files that the parts of a conversation name by their ids."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from server.errors import ApiError
from server.telemetry.metrics import Metrics

from .budget import Budget
from .failures import counted_failures
from .message_parts import MediaPart
from .opened_file import OpenFile


async def with_files(
    media_parts: Sequence[MediaPart], open_file: OpenFile, budget: Budget, metrics: Metrics
) -> list[MediaPart]:
    """Return the parts, those with a `file_id` with their opened file and its medium.

    Raises:
        ApiError: there are more files than the request may have images and videos, the client has no such
            file, or a file isn't an image or video, as its part says.
    """
    most = budget.left("images") + budget.left("videos")
    with counted_failures("file", metrics):
        if sum(part.file_id is not None for part in media_parts) > most:
            raise ApiError(
                f"A request may hold {most} images and videos. Send fewer files.",
                param="messages",
                code="too_many_images",
            )
        return [await _with_file(part, open_file) for part in media_parts]


async def _with_file(part: MediaPart, open_file: OpenFile) -> MediaPart:
    if part.file_id is None:
        return part
    param = f"{part.param}.file_id"
    file = await open_file(part.file_id, param)
    medium = await asyncio.to_thread(file.medium)
    if medium is None:
        raise ApiError(
            f"The file `{part.file_id[:100]}` is neither an image nor a video that this server reads. Send a "
            "JPEG, PNG, WebP, GIF or BMP, or an MP4, MOV, MKV, WebM, MPEG-TS, FLV or AVI.",
            param=param,
            code="unsupported_file",
        )
    if part.medium not in (None, medium):
        raise ApiError(
            f"The content of the file `{part.file_id[:100]}` is of the kind {medium}. Name it in a part "
            f"{medium}_url or file.",
            param=param,
            code="unsupported_file",
        )
    return replace(part, medium=medium, file=file)
