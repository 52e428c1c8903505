"""Keep the contents of files in a folder, so that a file is there as a whole or not at all.

A content is written beside its place, flushed to the disk, and then renamed. What a killed server leaves is
removed a day later.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from server.errors import ApiError, StartupError

logger = logging.getLogger("internvl3.server")
BLOCK = 2**20  # bytes that are written at once
LEFTOVER_SECONDS = 86_400.0


class ContentFolder:
    """The contents of files by their ids."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if it is missing. Raises StartupError if that fails or nothing can be written."""
        self._contents = folder / "contents"
        self._unfinished = folder / "unfinished"
        try:
            for path in (folder, self._contents, self._unfinished):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not os.access(path, os.W_OK | os.X_OK):
                    raise PermissionError(0, "no permission to write")
        except OSError as error:
            raise StartupError(f"can't keep files in {folder}: {error.strerror}") from None

    def path(self, content_id: str) -> Path:
        """Return where the content of a file lies."""
        return self._contents / content_id

    @asynccontextmanager
    async def writing(self, content_id: str) -> AsyncIterator["ContentWriter"]:
        """Yield what writes a content. Without a call of its `keep`, nothing stays after the block."""
        path = self._unfinished / content_id
        with stored():
            writer = ContentWriter(path, self.path(content_id))
        try:
            yield writer
        finally:
            await asyncio.to_thread(writer.close)

    def remove(self, content_id: str) -> None:
        """Delete a content if it is there. Whoever reads it at the moment can read it to its end."""
        self.path(content_id).unlink(missing_ok=True)

    def old_contents(self) -> list[str]:
        """Return the ids of the contents that are older than a day."""
        return [path.name for path in self._contents.iterdir() if _is_old(path)]

    def remove_unfinished(self) -> None:
        """Delete what was begun more than a day ago and not written to the end."""
        for path in self._unfinished.iterdir():
            if _is_old(path):
                path.unlink(missing_ok=True)


class ContentWriter:
    """Writes one content in blocks, and counts its bytes."""

    def __init__(self, path: Path, final: Path) -> None:
        self._path = path
        self._final = final
        self._file = path.open("xb", buffering=0)
        self._block = bytearray()
        self.size = 0

    async def write(self, piece: bytes | memoryview) -> None:
        """Append bytes. Raises ApiError (503) if the disk is full."""
        self._block += piece
        self.size += len(piece)
        if len(self._block) >= BLOCK:
            await self._flush()

    async def keep(self) -> None:
        """Make the content durable and put it in its place. Raises ApiError (503) if the disk is full."""
        await self._flush()
        with stored():
            await asyncio.to_thread(self._publish)

    def close(self) -> None:
        """Close the file, and delete it unless `keep` has put it in its place."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        block, self._block = self._block, bytearray()
        with stored():
            await asyncio.to_thread(_write_all, self._file.fileno(), block)

    def _publish(self) -> None:
        os.fsync(self._file.fileno())
        os.replace(self._path, self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def stored() -> Iterator[None]:
    """Turn an OSError of the block into an ApiError (503), as when the disk is full."""
    try:
        yield
    except OSError as error:
        logger.error("a file could not be stored or read: %s", error.strerror)
        raise ApiError(
            "The server has no room for the file, or can't read it. Retry later.",
            status=503,
            code="storage_failed",
        ) from None


def _write_all(descriptor: int, block: bytearray) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_old(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - LEFTOVER_SECONDS
    except OSError:
        return False
