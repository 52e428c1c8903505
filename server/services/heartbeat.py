"""Look at the server itself twice a second: the event loop's lag, the engines' steps, and their start."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from .context import ServerContext

logger = logging.getLogger("internvl3.server")
BEAT_SECONDS = 0.5


async def beat(context: ServerContext) -> None:
    """Look again and again, until this is cancelled."""
    loop = asyncio.get_running_loop()
    phases: Mapping[str, str] = {}
    is_starting = True
    stalled: set[str] = set()
    try:
        while True:
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            context.metrics.event_loop_lag.observe(max(0.0, loop.time() - due))
            if is_starting:
                is_starting = context.engines is None  # and one more time after the end
                phases = _log_phases(phases, context.start_phases)
            for title, watch in context.watches.items():
                watch.look(BEAT_SECONDS)  # and not the lag, in which the engine's steps could not be counted
                was_stalled = title in stalled
                if watch.is_stalled and not was_stalled:
                    stalled.add(title)
                    logger.error(
                        "the %s has made no step for %g s although requests wait", title, watch.seconds
                    )
                elif was_stalled and not watch.is_stalled:
                    stalled.remove(title)
                    logger.info("the %s makes steps again", title)
    finally:
        for watch in context.watches.values():
            watch.close()


def _log_phases(known: Mapping[str, str], read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """Log each engine whose start is in another phase than was known, and return the phases of all."""
    phases = read()
    for title, phase in phases.items():
        if known.get(title) != phase:
            logger.info("start of the %s: %s", title, phase)
    return phases
