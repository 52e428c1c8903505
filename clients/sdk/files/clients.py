"""The files of a client: `client.files`, blocking or for asyncio."""

from collections.abc import Callable, Sequence
from pathlib import Path

from clients.sdk.partial_upload import PartialUpload
from clients.sdk.sending.senders import AsyncSender, Sender

from .file_slice import OnProgress, ignore_progress
from .part_file import PartFile
from .steps import (
    PART_BYTES,
    Source,
    UploadOptions,
    content_call,
    content_steps,
    delete_steps,
    list_steps,
    retrieve_steps,
    upload_steps,
)
from .stored_files import StoredFile


def ignore_part(partial: PartialUpload) -> None:
    """Do nothing with the state of an upload."""


class Files:
    """The files that the server keeps for this client's key. Every method raises ClientError."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def upload(
        self,
        source: Source,
        *,
        purpose: str = "vision",
        filename: str | None = None,
        expires_after: int | None = None,
        part_bytes: int = PART_BYTES,
        resume: PartialUpload | None = None,
        on_progress: OnProgress = ignore_progress,
        on_part: Callable[[PartialUpload], None] = ignore_part,
    ) -> StoredFile:
        """Upload a file or bytes while they are read, and return the file.

        A file of more than `part_bytes` goes in parts, so that a broken connection costs one of them. If it
        fails nevertheless, UploadInterrupted holds the state to go on with as `resume`; `on_part` is called
        with the state after each part. `expires_after` is in seconds. Raises OSError if a file can't be read.
        """
        options = UploadOptions(
            purpose=purpose,
            filename=filename,
            expires_after=expires_after,
            part_bytes=part_bytes,
            resume=resume,
            on_progress=on_progress,
            on_part=on_part,
        )
        return self._sender.run(upload_steps(self._sender.connection, source, options))

    def list(self, purpose: str | None = None) -> Sequence[StoredFile]:
        """Return all files, or those with a purpose."""
        return self._sender.run(list_steps(self._sender.connection, purpose))

    def retrieve(self, file_id: str) -> StoredFile:
        """Return what is known of a file."""
        return self._sender.run(retrieve_steps(self._sender.connection, file_id))

    def content(self, file_id: str) -> bytes:
        """Return the content of a file, all of it in memory."""
        return self._sender.run(content_steps(self._sender.connection, file_id))

    def download(self, file_id: str, path: str | Path) -> None:
        """Write the content of a file to a path while it arrives. After a failure nothing is there."""
        with PartFile(Path(path)) as file:
            for piece in self._sender.pieces(content_call(file_id)):
                file.write(piece)

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._sender.run(delete_steps(self._sender.connection, file_id))


class AsyncFiles:
    """The `Files` of a client for asyncio."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def upload(
        self,
        source: Source,
        *,
        purpose: str = "vision",
        filename: str | None = None,
        expires_after: int | None = None,
        part_bytes: int = PART_BYTES,
        resume: PartialUpload | None = None,
        on_progress: OnProgress = ignore_progress,
        on_part: Callable[[PartialUpload], None] = ignore_part,
    ) -> StoredFile:
        """Upload a file or bytes; see `Files.upload`."""
        options = UploadOptions(
            purpose=purpose,
            filename=filename,
            expires_after=expires_after,
            part_bytes=part_bytes,
            resume=resume,
            on_progress=on_progress,
            on_part=on_part,
        )
        return await self._sender.run(upload_steps(self._sender.connection, source, options))

    async def list(self, purpose: str | None = None) -> Sequence[StoredFile]:
        """Return all files, or those with a purpose."""
        return await self._sender.run(list_steps(self._sender.connection, purpose))

    async def retrieve(self, file_id: str) -> StoredFile:
        """Return what is known of a file."""
        return await self._sender.run(retrieve_steps(self._sender.connection, file_id))

    async def content(self, file_id: str) -> bytes:
        """Return the content of a file, all of it in memory."""
        return await self._sender.run(content_steps(self._sender.connection, file_id))

    async def download(self, file_id: str, path: str | Path) -> None:
        """Write the content of a file to a path while it arrives. After a failure nothing is there."""
        with PartFile(Path(path)) as file:
            async for piece in self._sender.pieces(content_call(file_id)):
                file.write(piece)

    async def delete(self, file_id: str) -> None:
        """Delete a file."""
        await self._sender.run(delete_steps(self._sender.connection, file_id))
