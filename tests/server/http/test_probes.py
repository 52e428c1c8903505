"""The probes tell an operator what a server waits for, and what only a restart helps against."""

import asyncio
import logging

from server.engine_interface import Engines
from server.http.app import create_app
from tests.server.apps import app_with, client_of, settings
from tests.server.fakes import FakeCritic, FakeEngine, FakeSteps, engines_of


class Hanging(FakeSteps):
    """A request waits, no step is made, and nothing is answered."""

    waiting = 1

    async def ping(self) -> None:
        await asyncio.Event().wait()


async def test_progress_of_the_start(caplog):
    caplog.set_level(logging.INFO, "internvl3.server")
    phases = {"policy": "starting", "critic": "starting"}
    may_end = asyncio.Event()

    async def start() -> Engines:
        await may_end.wait()
        return engines_of(FakeEngine(["yes"]))

    async with client_of(create_app(settings(), start, start_phases=lambda: dict(phases))) as client:
        reply = await client.get("/readyz")
        assert reply.status_code == 503 and reply.headers["retry-after"] == "5"
        assert reply.json()["progress"] == phases
        error = reply.json()["error"]
        assert error["code"] == "model_loading" and "(policy: starting, critic: starting)" in error["message"]
        assert (await client.get("/livez")).status_code == 200
        while "start of the critic: starting" not in caplog.text:
            await asyncio.sleep(0.05)
        phases["policy"] = "compiling"
        assert (await client.get("/readyz")).json()["progress"]["policy"] == "compiling"
        may_end.set()
        while (await client.get("/readyz")).status_code == 503:
            await asyncio.sleep(0.05)
        while "start of the policy: compiling" not in caplog.text:
            await asyncio.sleep(0.05)
    assert caplog.text.count("start of the critic: starting") == 1


async def test_a_policy_that_hangs(caplog):
    caplog.set_level(logging.INFO, "internvl3.server")
    engine = FakeEngine(["yes"])
    steps = Hanging()
    engine.steps = {"policy": steps}
    async with client_of(app_with(engine, stall_seconds=0.5)) as client:
        while (reply := await client.get("/livez")).status_code == 200:
            await asyncio.sleep(0.05)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (503, "engine_stalled")
        assert "has made no step for" in error["message"]
        assert (await client.get("/readyz")).json()["error"]["code"] == "engine_stalled"
        assert "the policy has made no step for" in caplog.text
        steps.steps += 1
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        while "the policy makes steps again" not in caplog.text:
            await asyncio.sleep(0.05)


async def test_a_critic_that_hangs():
    engine = FakeEngine(["yes"], FakeCritic({}))
    engine.steps = {"policy": FakeSteps(), "critic": Hanging()}
    async with client_of(app_with(engine, stall_seconds=0.5)) as client:
        while (ready := (await client.get("/readyz"))).json() == {"status": "ok"}:
            await asyncio.sleep(0.05)
        assert ready.status_code == 200
        assert ready.json() == {"status": "degraded", "critic": "stalled"}
        assert (await client.get("/livez")).status_code == 200
