"""Answer one line of a batch as its endpoint would have, and keep the result."""

import asyncio
import logging

from server.access.admission import Admission, Priority
from server.access.principal import Principal
from server.database.batch_rows import COMPLETED, FAILED
from server.database.connection import Database
from server.database.line_rows import Line, release_line, store_result
from server.errors import ApiError, internal_error
from server.files.content_folder import ContentFolder, stored
from server.media.budget import Budget
from server.media.in_flight import BytesInFlight
from server.protocol.batch_fields import CHAT, RESPONSES, SCORE, TEXT, body_of
from server.services.service import Service
from server.telemetry.tracing import Tracing

from .input_file import read_line
from .leases import Leases
from .line_record import LineRecord
from .records import answered, new_request_id

logger = logging.getLogger("internvl3.server")
MAX_ATTEMPTS = 20  # of a line that ends the server each time, or that the server can't answer for now
LONGEST_WAIT = 60.0  # seconds until the next attempt
STORE_SECONDS = 1.0  # between two attempts to keep a result
# Errors that say nothing about the line: it waits as long as its batch does.
TEMPORARY = frozenset(
    (
        "database_failed",
        "engine_busy",
        "engine_stopped",
        "model_loading",
        "queue_full",
        "queue_timeout",
        "rate_limit_exceeded",
        "server_busy",
        "server_shutting_down",
        "storage_failed",
    )
)


class LineRunner:
    """Answers lines, with the key that has made their batch."""

    def __init__(
        self,
        service: Service,
        database: Database,
        folder: ContentFolder,
        in_flight: BytesInFlight,
        admission: Admission,
        leases: Leases,
        tracing: Tracing | None,
    ) -> None:
        self._service = service
        self._database = database
        self._folder = folder
        self._in_flight = in_flight
        self._admission = admission
        self._leases = leases
        self._tracing = tracing

    async def run(self, line: Line, principal: Principal) -> None:
        """Answer a line and keep its result, or give it back for a later attempt.

        Its tokens count among those of its key. Its result is durable before it is counted.
        """
        request_id = new_request_id()
        record = LineRecord(line, principal, request_id, self._tracing)
        status = None
        try:
            status = await self._attempt(line, principal, request_id, record)
        finally:
            record.end(status)

    async def _attempt(
        self, line: Line, principal: Principal, request_id: str, record: LineRecord
    ) -> int | None:
        """Do what `run` does, and return the status of the result, or None if the line was given back."""
        try:
            if line.attempts >= MAX_ATTEMPTS:
                raise ApiError(
                    f"{MAX_ATTEMPTS} attempts to answer this request have failed. Check what it asks for.",
                    status=500,
                    code="too_many_attempts",
                )
            reply = await self._answer(line, principal, request_id)
            status, body, outcome = 200, reply, COMPLETED
        except ApiError as error:
            if _is_cancelled():
                raise asyncio.CancelledError from None
            record.note_error(error.code, error.param)
            is_temporary = error.code in TEMPORARY
            if is_temporary or (error.status == 503 and line.attempts + 1 < MAX_ATTEMPTS):
                await self._give_back(line, error.retry_after, uncount=is_temporary)
                return None
            status, body, outcome = error.status, dict(error.body), FAILED
        except Exception:
            logger.exception("line %d of %s met a bug", line.number, line.batch.id)
            failure = internal_error()
            record.note_error(failure.code, failure.param)
            status, body, outcome = failure.status, dict(failure.body), FAILED
        if _is_cancelled():
            raise asyncio.CancelledError
        await self._keep(line, outcome, await answered(request_id, line.custom_id, status, body))
        return status

    async def _answer(self, line: Line, principal: Principal, request_id: str) -> dict[str, object]:
        with stored():
            path = await self._folder.local(line.batch.input_file_id)
        with self._in_flight.request() as held, self._admission.request(Priority.BATCH) as ticket:
            held.take(line.length)
            with stored():
                body = body_of(await asyncio.to_thread(read_line, path, line.start, line.length))
            budget = Budget(principal.settings, held, ticket)
            if line.batch.endpoint == SCORE:
                return await self._service.score(principal, body, budget)
            answers = {
                CHAT: self._service.answer,
                TEXT: self._service.complete,
                RESPONSES: self._service.respond,
            }
            reply = await answers[line.batch.endpoint](principal, {**body, "request_id": request_id}, budget)
            assert isinstance(reply, dict), "the body asks for no stream"
            return reply

    async def _keep(self, line: Line, outcome: str, record: str) -> None:
        """Store a result. If the database fails, try again, because the work is done."""
        while True:
            try:
                async with self._database.transaction() as connection:
                    now = await self._database.now(connection)
                    kept = await store_result(connection, line, self._leases.holder, outcome, record, now)
            except ApiError:
                await asyncio.sleep(STORE_SECONDS)
                continue
            if kept:
                self._service.context.metrics.batch_lines.labels(outcome).inc()
            else:
                logger.warning("line %d of %s was answered by another server", line.number, line.batch.id)
            return

    async def _give_back(self, line: Line, seconds: float, *, uncount: bool) -> None:
        async with self._database.transaction() as connection:
            not_before = await self._database.now(connection) + min(seconds, LONGEST_WAIT)
            await release_line(connection, line, self._leases.holder, not_before, uncount=uncount)


def _is_cancelled() -> bool:
    """Return whether this server has given up the line.

    vLLM's handler turns a cancellation into an error, as if a client had left. That is no result
    of the line: whoever holds it next answers it.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
