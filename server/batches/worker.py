"""Work on batches in the background of a server, until it stops."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from server.access.admission import Admission
from server.access.keys import Keys
from server.errors import ApiError
from server.files.storage import Storage
from server.media.in_flight import BytesInFlight
from server.services.service import Service
from server.telemetry.tracing import Tracing

from .batches import Batches
from .jobs import Jobs
from .leases import Leases
from .line_loop import LineLoop
from .line_runner import LineRunner

logger = logging.getLogger("internvl3.server")
LOOK_SECONDS = 1.0  # between two looks at what other servers or the time have changed
FAILURE_SECONDS = 5.0  # until the next try after the database or the disk has failed


@asynccontextmanager
async def working_batches(
    service: Service,
    storage: Storage,
    keys: Keys,
    in_flight: BytesInFlight,
    admission: Admission,
    is_leaving: Callable[[], bool],
    tracing: Tracing | None,
) -> AsyncIterator[Batches]:
    """Yield the batches of a server, and work on them during the block.

    Lines that run at the end of the block are given back: this server or another one answers them later.

    Args:
        service: answers the lines.
        storage: the database and the files.
        keys: the API keys.
        in_flight: counts the bytes of lines that are answered.
        admission: the queue in which lines wait for their turn, behind all requests.
        is_leaving: whether the server begins no more lines, because it is about to stop.
        tracing: traces each line; None if traces are off.
    """
    settings = service.context.settings
    leases = Leases(storage.database, settings.batch_lease_seconds)
    lines_wake, jobs_wake = asyncio.Event(), asyncio.Event()

    def wake() -> None:
        lines_wake.set()
        jobs_wake.set()

    runner = LineRunner(service, storage.database, storage.folder, in_flight, admission, leases, tracing)
    lines = LineLoop(
        storage.database, keys, leases, runner, concurrency=settings.batch_concurrency, wake=wake
    )
    jobs = Jobs(storage.database, storage.folder, keys, leases, service.context.metrics)

    async def begin_lines() -> None:
        if not is_leaving() and _is_ready(service):
            await lines.begin_some()

    async def do_jobs() -> None:
        while await jobs.do_one():
            lines_wake.set()

    await leases.begin()
    loops = [
        asyncio.create_task(_again_and_again(begin_lines, lines_wake)),
        asyncio.create_task(_again_and_again(do_jobs, jobs_wake)),
        asyncio.create_task(leases.renew_for_ever()),
    ]
    try:
        yield Batches(storage, wake)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await lines.end()
        await leases.end()


def _is_ready(service: Service) -> bool:
    """Return whether requests would get answers."""
    try:
        service.ready_engines()
    except ApiError:
        return False
    return True


async def _again_and_again(step: Callable[[], Awaitable[None]], wake: asyncio.Event) -> None:
    """Take a step whenever `wake` is set, and at least every second."""
    while True:
        wake.clear()
        try:
            await step()
        except (ApiError, OSError) as error:
            logger.error("batches wait for %g seconds: %s", FAILURE_SECONDS, error)
            await asyncio.sleep(FAILURE_SECONDS)
        except Exception:
            logger.exception("batches wait for %g seconds, because of a bug", FAILURE_SECONDS)
            await asyncio.sleep(FAILURE_SECONDS)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await wake.wait()
        except TimeoutError:
            continue
