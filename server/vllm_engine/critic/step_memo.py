"""Step scores that are known, and those that are being read at this moment: none is read twice.

A step's score follows from what stands before it, so candidates that begin alike share their first scores,
and an answer that is judged again costs nothing. This also answers for steps inside a cached prefix, which an
engine doesn't compute again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

# Reads the scores of the keys at these indices, in their order.
ReadSteps = Callable[[Sequence[int]], Awaitable[Sequence[float]]]


class StepMemo:
    """Scores by key, at most `most` of them; the least recently used are forgotten. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._being_read: dict[bytes, asyncio.Future[None]] = {}

    async def scores(self, keys: Sequence[bytes], read: ReadSteps) -> tuple[float, ...]:
        """The score of every key: known, or awaited from whoever reads it just now, or else by `read`.

        Should that other reader fail, `read` is called again for what it owed. An exception of `read` passes
        through.
        """
        found: dict[bytes, float] = {}
        while True:
            for key in keys:
                if key in self._known:
                    found[key] = self._known[key]
                    self._known.move_to_end(key)
            missing = [key for key in keys if key not in found]
            if not missing:
                return tuple(found[key] for key in keys)
            if mine := [key for key in missing if key not in self._being_read]:
                found |= await self._read(mine, keys, read)
            else:
                await asyncio.wait([self._being_read[key] for key in missing])

    async def _read(
        self, mine: Sequence[bytes], keys: Sequence[bytes], read: ReadSteps
    ) -> dict[bytes, float]:
        loop = asyncio.get_running_loop()
        self._being_read |= {key: loop.create_future() for key in mine}
        try:
            scores = dict(zip(mine, await read([keys.index(key) for key in mine]), strict=True))
            self._known |= scores
            while len(self._known) > self._most:
                self._known.popitem(last=False)
            return scores
        finally:
            for key in mine:
                self._being_read.pop(key).set_result(None)
