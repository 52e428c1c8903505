"""Let as many requests work at the same time as the engines can, and let the others wait for their turn.

A request has a weight: about the tokens that the engines will read and write for it. Requests that wait have
two priorities, and within one priority the key whose running requests weigh least is next.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from server.errors import ApiError

BATCH_SHARE = 0.5  # of the capacity, so that a request that somebody waits for never waits for a whole batch
RATE_SECONDS = 60.0  # over which the server's pace is measured
LONGEST_RETRY = 60  # seconds


class Priority(IntEnum):
    """Who waits for a request. vLLM's scheduler takes the lower number first, too."""

    INTERACTIVE = 0
    BATCH = 1

    @property
    def label(self) -> str:
        """The priority's name in metrics."""
        return self.name.lower()


@dataclass(eq=False)
class Ticket:
    """The place of one request in the queue, from `Admission.request`."""

    admission: "Admission"
    priority: Priority
    key: str = ""
    weight: int = 0  # while the request works; 0 before it does
    admitted: asyncio.Future[None] = field(init=False)

    async def take(self, weight: int, key: str) -> None:
        """Wait until the request may work, which it then may until the block of `Admission.request` ends.

        `weight` is about the tokens that it takes, and `key` the name of the API key that sends it. A request
        takes its turn once.

        Raises:
            ApiError: 429 (`queue_full`) if too many requests wait already, 503 (`queue_timeout`) after the
                longest time that a request may wait. Requests of a batch wait as long as it takes.
        """
        await self.admission.take(self, weight, key)


class Admission:
    """The queue of one server. It belongs to the event loop and isn't safe for threads."""

    def __init__(
        self,
        *,
        capacity: int,
        max_queued: int,
        queue_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        on_admitted: Callable[[Priority, float], None] = lambda priority, seconds: None,
    ) -> None:
        """Begin with nothing running.

        Args:
            capacity: the weight that may work at the same time. A heavier request works alone.
            max_queued: the requests that may wait, those of batches not counted.
            queue_seconds: the longest time that a request waits.
            clock: returns seconds that never go back.
            on_admitted: gets the priority and the waiting time of each request that is let in.
        """
        self._capacity = capacity
        self._max_queued = max_queued
        self._queue_seconds = queue_seconds
        self._clock = clock
        self._on_admitted = on_admitted
        self._running: set[Ticket] = set()
        self._waiting: list[Ticket] = []  # in the order of their arrival
        self._begun = clock()
        self._ended: deque[tuple[float, int]] = deque()  # when requests ended, and their weights

    @property
    def weight(self) -> int:
        """The weight of all requests that work now."""
        return sum(ticket.weight for ticket in self._running)

    def waiting(self, priority: Priority) -> int:
        """Return how many requests of a priority wait."""
        return sum(ticket.priority == priority for ticket in self._waiting)

    @contextmanager
    def request(self, priority: Priority) -> Iterator[Ticket]:
        """Yield the ticket of one request. At the end of the block the next requests get their turn."""
        ticket = Ticket(self, priority)
        try:
            yield ticket
        finally:
            if ticket in self._running:
                self._running.remove(ticket)
                self._ended.append((self._clock(), ticket.weight))
                self._admit()

    async def take(self, ticket: Ticket, weight: int, key: str) -> None:
        """See `Ticket.take`."""
        ticket.key, ticket.weight = key, min(weight, self._capacity)
        ticket.admitted = asyncio.get_running_loop().create_future()
        arrival = self._clock()
        self._waiting.append(ticket)
        self._admit()
        if not ticket.admitted.done():
            await self._wait(ticket)
        self._on_admitted(ticket.priority, self._clock() - arrival)

    async def _wait(self, ticket: Ticket) -> None:
        is_interactive = ticket.priority == Priority.INTERACTIVE
        try:
            if is_interactive and self.waiting(Priority.INTERACTIVE) > self._max_queued:
                raise self._refusal(
                    f"{self._max_queued} requests wait already.", status=429, code="queue_full"
                )
            async with asyncio.timeout(self._queue_seconds if is_interactive else None):
                await ticket.admitted
        except TimeoutError:
            raise self._refusal(
                f"The request had to wait for {self._queue_seconds:g} seconds.",
                status=503,
                code="queue_timeout",
            ) from None
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._admit()  # a lighter one behind it may fit

    def _admit(self) -> None:
        """Let in who is next, as long as there is room."""
        while self._waiting:
            following = self._next()
            if following.admitted.cancelled():  # its client has left, or it has waited too long
                self._waiting.remove(following)
                continue
            if not self._has_room(following):
                return
            self._waiting.remove(following)
            self._running.add(following)
            following.admitted.set_result(None)

    def _next(self) -> Ticket:
        """Return who is next: by priority, then by the weight that its key has running, then by arrival."""
        running: Counter[str] = Counter()
        for ticket in self._running:
            running[ticket.key] += ticket.weight
        return min(self._waiting, key=lambda ticket: (ticket.priority, running[ticket.key]))

    def _has_room(self, ticket: Ticket) -> bool:
        """Return whether a request fits. One that nothing of its kind runs beside always fits its share."""
        running = self.weight
        if running and running + ticket.weight > self._capacity:
            return False
        if ticket.priority == Priority.INTERACTIVE:
            return True
        of_batches = sum(other.weight for other in self._running if other.priority == Priority.BATCH)
        return not of_batches or of_batches + ticket.weight <= self._capacity * BATCH_SHARE

    def _refusal(self, why: str, *, status: int, code: str) -> ApiError:
        seconds = self._seconds_to_wait()
        return ApiError(
            f"The server has more requests than it can answer: {why} Retry in {seconds} seconds.",
            status=status,
            code=code,
            kind="requests" if status == 429 else None,
            retry_after=seconds,
        )

    def _seconds_to_wait(self) -> int:
        """Return the seconds until half of what waits has had its turn, at the pace of the last minute."""
        now = self._clock()
        while self._ended and self._ended[0][0] < now - RATE_SECONDS:
            self._ended.popleft()
        seconds = min(RATE_SECONDS, now - self._begun)
        pace = sum(weight for _, weight in self._ended) / max(seconds, 1.0)
        if pace == 0:
            return LONGEST_RETRY
        queued = sum(ticket.weight for ticket in self._waiting)
        return max(1, min(LONGEST_RETRY, math.ceil(queued / 2 / pace)))
