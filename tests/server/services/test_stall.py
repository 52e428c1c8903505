"""An engine hangs if requests wait, it makes no step, and it doesn't answer either."""

import asyncio

from server.services.stall import PING_SECONDS, StallWatch


class Engine:
    """An engine with a request that waits; it answers when it is told to."""

    def __init__(self) -> None:
        self.steps = 0
        self.waiting = 1
        self.answers = asyncio.Event()

    async def ping(self) -> None:
        await self.answers.wait()


async def hanging() -> tuple[Engine, StallWatch]:
    """Return an engine that hangs, and the watch that has noticed it."""
    engine = Engine()
    watch = StallWatch(engine, limit=10)
    watch.look(10)
    assert (watch.is_stalled, watch.seconds) == (False, 10)  # it is asked first
    watch.look(PING_SECONDS)
    assert (watch.is_stalled, watch.seconds) == (True, 10 + PING_SECONDS)
    return engine, watch


async def test_a_hanging_engine_that_goes_on():
    engine, watch = await hanging()
    engine.steps += 1
    assert not watch.is_stalled  # at once, and not at the next look
    watch.look(1)
    assert watch.seconds == 0
    watch.look(1)
    assert watch.seconds == 1


async def test_a_hanging_engine_whose_requests_leave():
    engine, watch = await hanging()
    engine.waiting = 0
    assert not watch.is_stalled
    watch.look(100)
    assert watch.seconds == 0


async def test_an_engine_that_answers_does_not_hang():
    """A request that vLLM has forgotten would wait for ever, but no restart is needed for it."""
    engine = Engine()
    engine.answers.set()
    watch = StallWatch(engine, limit=10)
    watch.look(10)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    watch.look(PING_SECONDS)
    assert not watch.is_stalled and watch.seconds == 0


async def test_steps_and_idle_time_count_as_work():
    engine = Engine()
    watch = StallWatch(engine, limit=10)
    for _ in range(10):
        engine.steps += 1
        watch.look(9)
    engine.waiting = 0
    for _ in range(10):
        watch.look(9)
    assert not watch.is_stalled


async def test_close_ends_the_question():
    _, watch = await hanging()
    watch.close()
    assert not watch.is_stalled
