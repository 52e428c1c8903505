"""Keep the contents of files in a folder, so that a file is there as a whole or not at all.

A content is written beside its place, flushed to the disk, and then renamed. What a killed server leaves is
removed a day later. If there is a storage elsewhere, it has all contents, and the folder has copies of those
that were used last.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from server.errors import ApiError, StartupError

from .remote_contents import RemoteContents

logger = logging.getLogger("internvl3.server")
BLOCK = 2**20  # bytes that are written at once
LEFTOVER_SECONDS = 86_400.0
COPY_SECONDS = 3600.0  # in which a copy stays after its last use


class ContentFolder:
    """The contents of files by their ids."""

    def __init__(self, folder: Path, remote: RemoteContents | None = None) -> None:
        """Create the folder if it is missing; `remote` keeps all contents if it isn't None.

        Raises StartupError if that fails or nothing can be written.
        """
        self._remote = remote
        self._copying: dict[str, asyncio.Task[None]] = {}  # by the id of a content
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
        """Return where the content of a file, or a copy of it, has its place."""
        return self._contents / content_id

    async def local(self, content_id: str) -> Path:
        """Return `path` as soon as the content is there, if there is such a content at all.

        A copy stays for an hour at least. Raises OSError if the storage fails.
        """
        path = self.path(content_id)
        if self._remote is None or await asyncio.to_thread(_touched, path):
            return path
        copying = self._copying.get(content_id)
        if copying is None:  # all that ask for it at the same time get one copy
            copying = asyncio.create_task(asyncio.to_thread(self._copy, content_id))
            self._copying[content_id] = copying
            copying.add_done_callback(lambda _: self._copying.pop(content_id))
        await asyncio.shield(copying)
        return path

    @asynccontextmanager
    async def writing(self, content_id: str) -> AsyncIterator["ContentWriter"]:
        """Yield what writes a content. Without a call of its `keep`, nothing stays after the block."""
        path = self._unfinished / content_id
        with stored():
            writer = ContentWriter(path, self.path(content_id), self._remote)
        try:
            yield writer
        finally:
            await asyncio.to_thread(writer.close)

    def remove(self, content_id: str) -> None:
        """Delete a content if it is there. Whoever reads it at the moment can read it to its end."""
        self.path(content_id).unlink(missing_ok=True)
        if self._remote is not None:
            try:
                self._remote.remove(content_id)
            except OSError as error:  # it belongs to nothing any more, so the next days remove it
                logger.warning("a content could not be deleted: %s", error.strerror)

    def ids(self) -> list[str]:
        """Return the ids of all contents."""
        if self._remote is not None:
            return self._remote.ids()
        return [path.name for path in self._contents.iterdir()]

    def remove_if_old(self, content_id: str) -> None:
        """Delete a content that is older than a day."""
        age = _age(self.path(content_id)) if self._remote is None else self._remote.age(content_id)
        if age > LEFTOVER_SECONDS:
            self.remove(content_id)

    def drop_copies(self, most_bytes: int) -> None:
        """Delete copies that nobody has used for an hour until all of them have so many bytes."""
        if self._remote is None:
            return
        copies = sorted((status.st_mtime, status.st_size, path) for path, status in _files(self._contents))
        total = sum(size for _, size, _ in copies)
        for _, size, path in copies:
            if total <= most_bytes or _age(path) < COPY_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= size

    def remove_unfinished(self) -> None:
        """Delete what was begun more than a day ago and not written to the end."""
        for path in self._unfinished.iterdir():
            if _age(path) > LEFTOVER_SECONDS:
                path.unlink(missing_ok=True)

    def _copy(self, content_id: str) -> None:
        """Copy a content from the storage, if it is there."""
        assert self._remote is not None
        path = self._unfinished / f"{content_id}.{secrets.token_hex(8)}"
        try:
            self._remote.get(content_id, path)
            os.replace(path, self.path(content_id))
        except FileNotFoundError:
            pass
        finally:
            path.unlink(missing_ok=True)


class ContentWriter:
    """Writes one content in blocks, and counts its bytes."""

    def __init__(self, path: Path, final: Path, remote: RemoteContents | None) -> None:
        self._path = path
        self._final = final
        self._remote = remote
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
        if self._remote is not None:
            self._remote.put(self._path, self._final.name)
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


def _age(path: Path) -> float:
    """Return for how many seconds a file was not written or used; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _touched(path: Path) -> bool:
    """Return whether a file is there, and note that it is used."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            yield path, path.stat()
