"""Validate batches, and write the results of those whose lines have ended."""

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from server.access.keys import Keys
from server.database.batch_jobs import (
    begin_lines,
    claim_job,
    close_lines,
    expire_batches,
    finish_batch,
    refuse_batch,
)
from server.database.batch_rows import FAILED, VALIDATING, BatchRow
from server.database.connection import Database
from server.database.file_rows import FileRow, add_file
from server.database.line_rows import results_after
from server.files.content_folder import ContentFolder, stored
from server.files.purposes import BATCH_OUTPUT
from server.telemetry.metrics import Metrics

from .input_file import InputLines, error_entries, read_lines
from .leases import Leases
from .records import unanswered

logger = logging.getLogger("internvl3.server")
PAGE = 100  # results that are read at once


class Jobs:
    """The work on batches as a whole, which one server at a time does."""

    def __init__(
        self, database: Database, folder: ContentFolder, keys: Keys, leases: Leases, metrics: Metrics
    ) -> None:
        self._database = database
        self._folder = folder
        self._keys = keys
        self._leases = leases
        self._metrics = metrics

    async def do_one(self) -> bool:
        """Validate or finish one batch, and return whether there was one.

        Raises ApiError if database or disk fail; the job stays, and a later call does it.
        """
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            await expire_batches(connection, now)
            batch = await claim_job(connection, self._leases.holder, now, self._leases.seconds)
        if batch is None:
            return False
        if batch.status == VALIDATING:
            await self._validate(batch)
        else:
            await self._finish(batch)
        return True

    async def _validate(self, batch: BatchRow) -> None:
        found = await self._read(batch)
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            if found.errors:
                errors = json.dumps(list(found.errors))
                await refuse_batch(connection, batch, self._leases.holder, errors, now)
            else:
                await begin_lines(connection, batch, self._leases.holder, found.lines, now)

    async def _read(self, batch: BatchRow) -> InputLines:
        principal = self._keys.named(batch.owner)
        if principal is None:
            return _only_error("api_key_removed", "The API key that made this batch no longer exists.")
        with stored():
            path = await self._folder.local(batch.input_file_id)
        try:
            return await asyncio.to_thread(
                read_lines,
                path,
                batch.endpoint,
                most_lines=principal.settings.max_batch_lines,
                most_bytes=principal.settings.max_body_bytes,
            )
        except OSError as error:
            logger.error("the file of %s can't be read: %s", batch.id, error.strerror)
            return _only_error("file_not_found", "The file of the batch can't be read any more.")

    async def _finish(self, batch: BatchRow) -> None:
        """Write the results into files, and end the batch and delete its lines in one transaction."""
        async with self._database.transaction() as connection:
            closed = await close_lines(connection, batch, self._leases.holder)
        if closed is None:
            return
        output = await self._write(batch, completed=True)
        errors = await self._write(batch, completed=False)
        files = [file for file in (output, errors) if file is not None]
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            kept = await finish_batch(
                connection,
                batch,
                self._leases.holder,
                output_file_id=None if output is None else output.id,
                error_file_id=None if errors is None else errors.id,
                now=now,
            )
            expires_at = None if batch.output_lifetime is None else now + batch.output_lifetime
            for file in files if kept else ():
                times = {"created_at": now, "expires_at": expires_at}
                await add_file(connection, FileRow(**{**file.__dict__, **times}))
        if kept:
            outcome = "abandoned" if batch.ending == FAILED else str(batch.ending)
            self._metrics.batch_lines.labels(outcome).inc(closed)
            logger.info("%s has ended: %s", batch.id, batch.ending)
        else:
            for file in files:
                await asyncio.to_thread(self._folder.remove, file.id)

    async def _write(self, batch: BatchRow, *, completed: bool) -> FileRow | None:
        """Write one file of results, and return its row without its times; None if there are no results."""
        file_id = f"file-{secrets.token_hex(16)}"
        number = 0
        async with self._folder.writing(file_id) as writer:
            while True:
                async with self._database.transaction() as connection:
                    results = await results_after(connection, batch.id, number, PAGE, completed=completed)
                for result in results:
                    record = result.record or unanswered(result.custom_id, result.outcome)
                    await writer.write(f"{record}\n".encode())
                if not results:
                    break
                number = results[-1].number
            if not writer.size:
                return None
            await writer.keep()
        return FileRow(
            id=file_id,
            owner=batch.owner,
            filename=f"{batch.id}_{'output' if completed else 'error'}.jsonl",
            purpose=BATCH_OUTPUT,
            content_type="application/jsonl",
            bytes=writer.size,
            created_at=0.0,
            expires_at=None,
        )


def _only_error(code: str, message: str) -> InputLines:
    errors: Sequence[Mapping[str, Any]] = json.loads(error_entries(code, message))
    return InputLines(lines=[], errors=errors)
