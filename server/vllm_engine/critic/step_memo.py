"""Remember step scores, so that no step is scored twice, not even by two requests at the same time.

A step's score depends only on the step and on the text and media before it. So candidates that begin with the
same steps share their first scores, and scoring an answer a second time takes no tokens. The memory also
helps with steps inside the engine's cached prefix, because the engine doesn't compute logits for them again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

# Reads the scores of the keys at these indices, in their order.
ReadSteps = Callable[[Sequence[int]], Awaitable[Sequence[float]]]


class StepMemo:
    """At most `limit` scores by key, for one event loop. The least recently used scores are dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._being_read: dict[bytes, asyncio.Future[None]] = {}

    async def scores(self, keys: Sequence[bytes], read: ReadSteps) -> tuple[float, ...]:
        """Return the score of every key, in their order.

        A score that is not remembered is read by `read`. If another call is reading it at the moment, this
        call waits for that score. If the other call fails, this one calls `read` for the scores that are
        still missing. An exception of `read` passes through.
        """
        scores: dict[bytes, float] = {}
        while True:
            for key in keys:
                if key in self._known:
                    scores[key] = self._known[key]
                    self._known.move_to_end(key)
            missing = [key for key in keys if key not in scores]
            if not missing:
                return tuple(scores[key] for key in keys)
            if unread := [key for key in missing if key not in self._being_read]:
                scores |= await self._read(unread, keys, read)
            else:
                await asyncio.wait([self._being_read[key] for key in missing])

    async def _read(
        self, unread: Sequence[bytes], keys: Sequence[bytes], read: ReadSteps
    ) -> dict[bytes, float]:
        loop = asyncio.get_running_loop()
        self._being_read |= {key: loop.create_future() for key in unread}
        indices = {key: index for index, key in enumerate(keys)}
        try:
            scores = dict(zip(unread, await read([indices[key] for key in unread]), strict=True))
            self._known |= scores
            while len(self._known) > self._limit:
                self._known.popitem(last=False)
            return scores
        finally:
            for key in unread:
                self._being_read.pop(key).set_result(None)
