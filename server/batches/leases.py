"""What one server holds of the database's batches and lines, and the renewal of its leases."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress

from server.database.batch_jobs import release_jobs, renew_jobs
from server.database.connection import Database
from server.database.line_rows import release_lines, renew_lines
from server.errors import ApiError

logger = logging.getLogger("internvl3.server")
RENEWALS = 3  # in the time of a lease


class Leases:
    """The leases of one server. Its `holder` is another name after each start."""

    def __init__(self, database: Database, seconds: float) -> None:
        """`seconds` is how long a lease lasts that isn't renewed."""
        self.holder = secrets.token_hex(16)
        self.seconds = seconds
        self.lines: dict[tuple[str, int], asyncio.Task[None]] = {}  # what answers each line now
        self._database = database
        self._idle: frozenset[tuple[str, int]] = frozenset()  # lines with a lease and without a task

    async def begin(self) -> None:
        """End the leases of a server that was killed, if it was the only one."""
        if not self._database.is_shared:
            await self._release(None)

    async def renew_for_ever(self) -> None:
        """Renew the leases again and again, in time for one renewal to fail."""
        while True:
            await asyncio.sleep(self.seconds / RENEWALS)
            with suppress(ApiError):  # the log says why the database has failed
                await self.renew()

    async def renew(self) -> None:
        """Prolong the leases, and end the work on lines that another server has taken over.

        A line that nobody answers here, because it could not be given back, gets free. Raises ApiError if the
        database fails.
        """
        begun = dict(self.lines)  # a line that is claimed meanwhile isn't lost
        async with self._database.transaction() as connection:
            until = await self._database.now(connection) + self.seconds
            await renew_jobs(connection, self.holder, until)
            kept = await renew_lines(connection, self.holder, until, self._idle)
        self._end_lost(begun, kept)
        self._idle = kept - begun.keys()  # it may just be on its way into `lines`, so it gets a second chance

    async def end(self) -> None:
        """Give back all leases, so that another server can go on at once."""
        try:
            await self._release(self.holder)
        except ApiError:
            logger.error("the leases of this server's batches end by themselves, in %g seconds", self.seconds)

    def _end_lost(
        self, begun: Mapping[tuple[str, int], asyncio.Task[None]], kept: frozenset[tuple[str, int]]
    ) -> None:
        for key, task in begun.items():
            if key not in kept and self.lines.get(key) is task:
                logger.warning("another server has taken over line %d of %s", key[1], key[0])
                task.cancel()

    async def _release(self, holder: str | None) -> None:
        async with self._database.transaction() as connection:
            await release_jobs(connection, holder)
            await release_lines(connection, holder)
