"""The time limit of scoring, which holds as long as the critic scores nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ttscaling.types import CriticError


class ScoringTime:
    """The seconds without any score, after which all scoring that waits has failed.

    The time in which the critic scores other answers doesn't count, so a long queue fails nobody.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limits: set[asyncio.Timeout] = set()  # of the answers that are being scored

    @asynccontextmanager
    async def limit(self) -> AsyncGenerator[None]:
        """End the scoring in the block when the time is over. Raises CriticError then."""
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._limits.add(limit)
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise CriticError(f"the critic did not answer within {self._seconds:g} seconds") from None
        finally:
            self._limits.discard(limit)

    def renew(self) -> None:
        """Give every answer that waits the whole time again, because the critic is at work."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(deadline)
