"""Begin lines of batches while there is room for them, in turn for each API key."""

import asyncio
import time
from collections.abc import Callable, Sequence

from server.access.keys import Keys
from server.access.principal import Principal
from server.database.batch_rows import FAILED, end_early
from server.database.connection import Database
from server.database.line_rows import ActiveBatch, Line, active_batches, claim_line
from server.errors import ApiError

from .input_file import error_entries
from .leases import Leases
from .line_runner import LineRunner


class LineLoop:
    """Chooses which line is begun next, and keeps the number of those that run within its limit."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        leases: Leases,
        runner: LineRunner,
        *,
        concurrency: int,
        wake: Callable[[], None],
    ) -> None:
        """Begin nothing yet.

        Args:
            database: where batches and lines stand.
            keys: the API keys, by whose names batches are kept.
            leases: gets the lines that are begun.
            runner: answers them.
            concurrency: the most lines that are answered at the same time.
            wake: is called when a line has ended.
        """
        self._database = database
        self._keys = keys
        self._leases = leases
        self._runner = runner
        self._concurrency = concurrency
        self._wake = wake
        self._turns: dict[str, int] = {}  # by owner: the turn of its last line
        self._turn = 0
        self._waits: dict[str, float] = {}  # by owner: until when its rates allow nothing more

    async def begin_some(self) -> None:
        """Begin as many lines as there is room for. Raises ApiError if the database fails."""
        while len(self._leases.lines) < self._concurrency:
            async with self._database.transaction() as connection:
                batches = await active_batches(connection, await self._database.now(connection))
            if not await self._begin_one(batches):
                return

    async def end(self) -> None:
        """End the work on all lines."""
        tasks = list(self._leases.lines.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_one(self, batches: Sequence[ActiveBatch]) -> bool:
        """Begin a line of the key that has waited longest for its turn, and return whether there was one."""
        first: dict[str, ActiveBatch] = {}
        for batch in batches:
            first.setdefault(batch.owner, batch)
        now = time.monotonic()
        for owner in sorted(first, key=lambda name: self._turns.get(name, 0)):
            if self._waits.get(owner, now) > now:
                continue
            principal = self._keys.named(owner)
            if principal is None:
                await self._fail(first[owner])
                continue
            try:
                principal.account.begin()
            except ApiError as error:
                self._waits[owner] = now + error.retry_after
                continue
            line = None
            try:
                line = await self._claim(first[owner])
            finally:
                if line is None:
                    principal.account.end()
            if line is not None:
                self._turn += 1
                self._turns[owner] = self._turn
                self._start(line, principal)
                return True
        return False

    async def _claim(self, batch: ActiveBatch) -> Line | None:
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            return await claim_line(connection, batch, self._leases.holder, now, self._leases.seconds)

    def _start(self, line: Line, principal: Principal) -> None:
        def end(task: asyncio.Task[None]) -> None:
            del self._leases.lines[line.key]
            principal.account.end()
            self._wake()
            if not task.cancelled() and (error := task.exception()) is not None:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a line of a batch could not be given back", "exception": error}
                )

        task = asyncio.create_task(self._runner.run(line, principal))
        self._leases.lines[line.key] = task
        task.add_done_callback(end)

    async def _fail(self, batch: ActiveBatch) -> None:
        """End a batch whose key is gone: nobody says any more what it may use."""
        errors = error_entries("api_key_removed", "The API key that made this batch no longer exists.")
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            await end_early(connection, batch.owner, batch.id, FAILED, now, errors)
        self._wake()
