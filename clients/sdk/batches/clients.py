"""The batches of a client: `client.batches`, blocking or for asyncio."""

from collections.abc import Mapping, Sequence
from typing import Any

from clients.sdk.files.file_slice import OnProgress, ignore_progress
from clients.sdk.sending.senders import AsyncSender, Sender

from .objects import Batch, BatchResult
from .steps import (
    CHAT,
    OnCounts,
    begin_steps,
    cancel_steps,
    create_steps,
    ignore_counts,
    list_steps,
    result_steps,
    retrieve_steps,
    wait_steps,
)


class Batches:
    """The batches of this client's key. Every method raises ClientError."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self,
        bodies: Mapping[str, Mapping[str, Any]],
        *,
        endpoint: str = CHAT,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> Batch:
        """Upload requests, each under an id of your own, and have the server answer them in the background.

        `question` makes the body of a chat request. `on_progress` is called while the file is uploaded.
        """
        steps = create_steps(self._sender.connection, bodies, endpoint, metadata, on_progress)
        return self._sender.run(steps)

    def create_from_file(
        self, file_id: str, *, endpoint: str = CHAT, metadata: Mapping[str, str] | None = None
    ) -> Batch:
        """Have the server answer the requests of a file that was uploaded with the purpose `batch`."""
        return self._sender.run(begin_steps(self._sender.connection, file_id, endpoint, metadata))

    def retrieve(self, batch_id: str) -> Batch:
        """Return how far a batch is."""
        return self._sender.run(retrieve_steps(self._sender.connection, batch_id))

    def list(self) -> Sequence[Batch]:
        """Return all batches."""
        return self._sender.run(list_steps(self._sender.connection))

    def cancel(self, batch_id: str) -> Batch:
        """Have the server begin no more lines of a batch."""
        return self._sender.run(cancel_steps(self._sender.connection, batch_id))

    def wait(
        self, batch_id: str, *, max_seconds: float | None = None, on_counts: OnCounts = ignore_counts
    ) -> Batch:
        """Return a batch once it has ended. `on_counts` is called with the counts at each look at it."""
        return self._sender.run(wait_steps(self._sender.connection, batch_id, max_seconds, on_counts))

    def results(self, batch: Batch) -> Sequence[BatchResult]:
        """Return the results of a batch that has ended, all in memory; the answered lines come first."""
        return self._sender.run(result_steps(self._sender.connection, batch))


class AsyncBatches:
    """The `Batches` of a client for asyncio."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self,
        bodies: Mapping[str, Mapping[str, Any]],
        *,
        endpoint: str = CHAT,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> Batch:
        """Upload requests and have the server answer them; see `Batches.create`."""
        steps = create_steps(self._sender.connection, bodies, endpoint, metadata, on_progress)
        return await self._sender.run(steps)

    async def create_from_file(
        self, file_id: str, *, endpoint: str = CHAT, metadata: Mapping[str, str] | None = None
    ) -> Batch:
        """Have the server answer the requests of a file that was uploaded with the purpose `batch`."""
        return await self._sender.run(begin_steps(self._sender.connection, file_id, endpoint, metadata))

    async def retrieve(self, batch_id: str) -> Batch:
        """Return how far a batch is."""
        return await self._sender.run(retrieve_steps(self._sender.connection, batch_id))

    async def list(self) -> Sequence[Batch]:
        """Return all batches."""
        return await self._sender.run(list_steps(self._sender.connection))

    async def cancel(self, batch_id: str) -> Batch:
        """Have the server begin no more lines of a batch."""
        return await self._sender.run(cancel_steps(self._sender.connection, batch_id))

    async def wait(
        self, batch_id: str, *, max_seconds: float | None = None, on_counts: OnCounts = ignore_counts
    ) -> Batch:
        """Return a batch once it has ended. `on_counts` is called with the counts at each look at it."""
        return await self._sender.run(wait_steps(self._sender.connection, batch_id, max_seconds, on_counts))

    async def results(self, batch: Batch) -> Sequence[BatchResult]:
        """Return the results of a batch that has ended, all in memory; the answered lines come first."""
        return await self._sender.run(result_steps(self._sender.connection, batch))
