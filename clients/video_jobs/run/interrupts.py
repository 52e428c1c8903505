"""End a run in order when the user or the system asks for it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from threading import current_thread, main_thread

from .paid_work import PaidWork

GRACE = 20.0  # seconds that SIGTERM leaves for the requests that are at the servers


class Interrupted(Exception):
    """The run was ended by a signal; what was under way can be taken up again."""


async def until_interrupted(
    run: Awaitable[None], work: PaidWork, say: Callable[[str], None], *, grace: float = GRACE
) -> None:
    """Await a run. The first SIGINT or SIGTERM ends it, and the replies that are on their way are kept.

    They have been paid for, so they are waited for: until a second SIGINT, and after SIGTERM for `grace`
    seconds. Raises Interrupted after a signal, and else what the run raises.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(run)
    hurry = asyncio.Event()
    received: list[int] = []

    def note(number: int) -> None:
        if received:
            hurry.set()
        elif number == signal.SIGTERM:
            loop.call_later(grace, hurry.set)
        received.append(number)
        task.cancel()

    # Signals come to the main thread; a run in another one is ended by whoever started it.
    signals = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    for number in signals:
        loop.add_signal_handler(number, note, number)
    try:
        try:
            await task
        except asyncio.CancelledError:
            if not received:
                raise
        finally:
            if received and work.requests_under_way:
                say(
                    f"waiting for {work.requests_under_way} requests that are at the server; Ctrl-C again "
                    "leaves them"
                )
            await _drain(work, hurry)
        if received:
            raise Interrupted
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _drain(work: PaidWork, hurry: asyncio.Event) -> None:
    """Wait for the requests that are at the servers, or until it has to go fast."""
    draining, hurrying = asyncio.ensure_future(work.drain()), asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    finally:
        draining.cancel()
        hurrying.cancel()
