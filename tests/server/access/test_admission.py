"""Requests work within the capacity, wait in the order of their priority and key, and are refused in time."""

import asyncio
from typing import Any

import pytest

from server.access.admission import Admission, Priority, Ticket
from server.errors import ApiError


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Queue:
    """Runs requests until each is told to end, and keeps the order in which they begin."""

    def __init__(self, **chosen: Any) -> None:
        self.clock = Clock()
        options: dict[str, Any] = {"capacity": 100, "max_queued": 10, "queue_seconds": 60, **chosen}
        self.admission = Admission(clock=self.clock, **options)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def send(
        self, name: str, weight: int, *, key: str = "a", priority: Priority = Priority.INTERACTIVE
    ) -> asyncio.Task[None]:
        """Send a request, and let it go as far as it can."""
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, weight, key, priority))
        await turns()
        return self._tasks[name]

    async def end(self, *names: str) -> None:
        """Let requests end that have begun."""
        for name in names:
            self._ends[name].set()
            await self._tasks[name]
        await turns()

    async def _run(self, name: str, weight: int, key: str, priority: Priority) -> None:
        with self.admission.request(priority) as ticket:
            await ticket.take(weight, key)
            self.begun.append(name)
            await self._ends[name].wait()


async def turns() -> None:
    """Let all tasks go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_beyond_the_capacity_wait_in_the_order_of_their_arrival():
    queue = Queue()
    for name, weight in (("first", 60), ("second", 50), ("third", 10)):
        await queue.send(name, weight)
    assert queue.begun == ["first"], "a light one doesn't overtake"
    assert queue.admission.waiting(Priority.INTERACTIVE) == 2
    await queue.end("first")
    assert queue.begun == ["first", "second", "third"]
    await queue.end("second", "third")
    assert queue.admission.weight == 0


async def test_a_request_that_is_heavier_than_the_capacity_works_alone():
    queue = Queue()
    await queue.send("heavy", 1000)
    await queue.send("light", 1)
    assert queue.begun == ["heavy"]
    await queue.end("heavy")
    await queue.end("light")
    assert queue.begun == ["heavy", "light"]


async def test_batches_wait_for_all_others_and_take_half_of_the_capacity():
    queue = Queue()
    await queue.send("line 0", 40, priority=Priority.BATCH)
    await queue.send("line 1", 40, priority=Priority.BATCH)
    await queue.send("chat 0", 60)
    assert queue.begun == ["line 0", "chat 0"]
    await queue.send("chat 1", 60)
    await queue.end("line 0")
    assert queue.begun == ["line 0", "chat 0"], "the line would fit, but a chat request waits"
    await queue.end("chat 0")
    assert queue.begun == ["line 0", "chat 0", "chat 1", "line 1"]
    await queue.end("chat 1", "line 1")


async def test_a_heavy_line_of_a_batch_runs_beside_no_other_line():
    queue = Queue()
    await queue.send("heavy line", 90, priority=Priority.BATCH)
    await queue.send("line", 5, priority=Priority.BATCH)
    await queue.send("chat", 10)
    assert queue.begun == ["heavy line", "chat"]
    await queue.end("heavy line", "line", "chat")


async def test_keys_take_turns():
    queue = Queue()
    await queue.send("a0", 60, key="a")
    for name in ("a1", "a2"):
        await queue.send(name, 30, key="a")
    await queue.send("b0", 30, key="b")
    await queue.end("a1")
    assert queue.begun == ["a0", "a1", "b0"], "key b has nothing running"
    await queue.end("b0", "a0", "a2")


async def refusal(sending: asyncio.Task[None]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await sending
    return caught.value


async def test_a_full_queue_refuses_with_the_time_that_it_takes():
    queue = Queue(max_queued=1)
    await queue.send("past", 100)
    queue.clock.seconds = 10.0  # in which a weight of 100 was done: 10 a second
    await queue.end("past")
    await queue.send("first", 100)
    await queue.send("second", 60)
    error = await refusal(await queue.send("third", 60))
    assert (error.status, error.code, error.retry_after) == (429, "queue_full", 6)
    assert "1 requests wait already" in error.message
    await queue.send("line", 60, priority=Priority.BATCH)
    await queue.end("first", "second", "line")
    assert queue.begun[-2:] == ["second", "line"], "lines of batches aren't refused"


async def test_a_request_that_waits_too_long_is_refused_and_those_behind_it_go_on():
    queue = Queue(queue_seconds=0.01)
    await queue.send("first", 60)
    heavy = await queue.send("heavy", 100)
    assert (await refusal(heavy)).code == "queue_timeout"
    await queue.send("light", 10)
    assert queue.begun == ["first", "light"]
    await queue.end("first", "light")


async def test_a_client_that_leaves_the_queue_takes_nothing_with_it():
    queue = Queue()
    await queue.send("first", 60)
    heavy = await queue.send("heavy", 100)
    await queue.send("light", 10)
    heavy.cancel()
    await turns()
    assert queue.begun == ["first", "light"]
    assert queue.admission.waiting(Priority.INTERACTIVE) == 0
    await queue.end("first", "light")
    assert queue.admission.weight == 0


async def test_clients_that_leave_the_queue_together_are_never_let_in():
    """The first one to go looks who is next, and the other is still in the queue."""
    queue = Queue()
    await queue.send("first", 60)
    leaving = [await queue.send("heavy", 100), await queue.send("light", 40)]
    for sending in leaving:
        sending.cancel()
    outcomes = await asyncio.gather(*leaving, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
    assert queue.begun == ["first"] and queue.admission.waiting(Priority.INTERACTIVE) == 0
    await queue.end("first")
    assert queue.admission.weight == 0


async def test_an_unused_ticket_takes_no_room():
    admission = Admission(capacity=1, max_queued=0, queue_seconds=1)
    with admission.request(Priority.INTERACTIVE) as probe:
        assert isinstance(probe, Ticket)
        with admission.request(Priority.INTERACTIVE) as other:
            await other.take(1, "a")
            assert admission.weight == 1
    assert admission.weight == 0
