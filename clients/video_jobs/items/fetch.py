"""Bring a video to this machine for the time that it is needed: http(s) by httpx, s3 by fsspec."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx

from clients.video_jobs.digest import digest

from .item import is_address

TRIES = 3
PAUSE = 1.0  # seconds before the second try; it doubles
TIMEOUT = 60.0  # seconds without a byte


class FetchError(Exception):
    """A video can't be fetched. `retryable` is whether another try may succeed."""

    def __init__(self, message: str, *, status: int | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.status, self.retryable = status, retryable


@asynccontextmanager
async def local_video(video: str, folder: Path, *, pause: float = PAUSE) -> AsyncIterator[Path]:
    """Yield the file of a video: its own path, or a copy in `folder` that is removed at the end.

    Raises FetchError, and OSError if the copy can't be written.
    """
    if not is_address(video):
        path = Path(video)
        if not path.is_file():
            raise FetchError(f"there is no file {video}")
        yield path
        return
    folder.mkdir(parents=True, exist_ok=True)
    suffix = PurePosixPath(urlsplit(video).path).suffix
    copy = folder / f"{digest(video)[:32]}{suffix}"
    try:
        await _fetch(video, copy, pause)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


async def _fetch(video: str, copy: Path, pause: float) -> None:
    for number in range(TRIES):
        try:
            if video.startswith("s3://"):
                await asyncio.to_thread(_fetch_s3, video, copy)
            else:
                await _fetch_http(video, copy)
            return
        except FetchError as error:
            if not error.retryable or number == TRIES - 1:
                raise
            await asyncio.sleep(pause * 2**number)


async def _fetch_http(video: str, copy: Path) -> None:
    try:
        async with (
            httpx.AsyncClient(follow_redirects=True, timeout=TIMEOUT) as http,
            http.stream("GET", video) as reply,
        ):
            if not reply.is_success:
                may_pass = reply.status_code in (408, 429) or reply.status_code >= 500
                message = f"{_shown(video)} can't be fetched: HTTP {reply.status_code}"
                raise FetchError(message, status=reply.status_code, retryable=may_pass)
            with copy.open("wb") as file:
                async for piece in reply.aiter_bytes(1 << 20):
                    await asyncio.to_thread(file.write, piece)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"{_shown(video)} can't be fetched: {type(error).__name__}: {error}"
        raise FetchError(message, retryable=isinstance(error, httpx.TransportError)) from error


def _fetch_s3(video: str, copy: Path) -> None:
    try:
        import fsspec

        files = fsspec.filesystem("s3")
    except ImportError:
        raise FetchError(
            "videos at s3:// need the packages fsspec and s3fs; install them with: pip install s3fs"
        ) from None
    try:
        files.get_file(video, str(copy))
    except FileNotFoundError as error:
        raise FetchError(f"there is no {video}") from error
    except PermissionError as error:
        raise FetchError(f"{video} may not be read: check the credentials ({error})") from error
    except Exception as error:  # fsspec passes on what its backends raise
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FetchError(
            f"{video} can't be fetched: {type(error).__name__}: {error}", retryable=True
        ) from error


def _shown(video: str) -> str:
    """Return an address without its query, which may hold a signature."""
    return video.partition("?")[0]
