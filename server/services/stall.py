"""Notice that an engine hangs: requests wait, it makes no step, and its process answers nothing."""

import asyncio
from contextlib import suppress

from server.engine_steps import EngineSteps

PING_SECONDS = 5.0  # in which a process that works answers between two steps


class StallWatch:
    """Watches one engine. `seconds` is for how long requests have waited without a step of it."""

    def __init__(self, engine: EngineSteps, limit: float) -> None:
        """`limit` is the number of seconds without a step after which the engine is asked for an answer."""
        self.seconds = 0.0
        self._engine = engine
        self._limit = limit
        self._steps = engine.steps
        self._ping: asyncio.Task[None] | None = None

    @property
    def is_stalled(self) -> bool:
        """Whether the engine has made no step for the limit, and then given no answer either."""
        has_gone_on = self._engine.steps != self._steps or self._engine.waiting == 0
        return self._ping is not None and not has_gone_on and self.seconds >= self._limit + PING_SECONDS

    def look(self, elapsed: float) -> None:
        """Look at the engine again, `elapsed` seconds after the last look."""
        if self._engine.steps != self._steps or self._engine.waiting == 0:
            self._steps = self._engine.steps
            self.close()
            return
        self.seconds += elapsed
        if self._ping is None and self.seconds >= self._limit:
            self._ping = asyncio.create_task(self._answer())
        elif self._ping is not None and self._ping.done():
            self.close()

    def close(self) -> None:
        """Forget what was noticed."""
        self.seconds = 0.0
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None

    async def _answer(self) -> None:
        with suppress(Exception):  # an engine that has died is noticed otherwise
            await self._engine.ping()
