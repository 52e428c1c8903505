"""`internvl3 bench overload` without engines: what it sends, counts and finds wrong."""

import os
import random

import httpx
import pytest
from rich.progress import Progress

from bench.serving import overload
from server.errors import ApiError
from tests.server.apps import app_with, listening
from tests.server.fakes import FakeCritic, FakeEngine

METRICS = """# TYPE internvl3_tokens counter
internvl3_tokens_total{key="anonymous",kind="prompt_computed",model="policy"} 30.0
internvl3_tokens_total{key="anonymous",kind="prompt_cached",model="critic"} 12.0
internvl3_tokens_total{key="anonymous",kind="completion",model="policy"} 5.0
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{model_name="nano"} 30.0
vllm:prompt_tokens_total{model_name="nano-critic"} 12.0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{model_name="nano"} 5.0
vllm:generation_tokens_total{model_name="nano-critic"} 3.0
"""


@pytest.fixture
def answerable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only requests that the fake engine judges as the real one does."""
    monkeypatch.setattr(overload, "EXTRAS", ({}, {"stream": True}, {"best_of": 2}, {"v2pe_delta": 7}))


def engine() -> FakeEngine:
    return FakeEngine(["yes"], FakeCritic({"yes": [0.5]}))


@pytest.mark.usefixtures("answerable")
async def test_a_server_that_answers_has_no_faults() -> None:
    async with listening(app_with(engine())) as url:
        facts = await overload._load(
            url, os.getpid(), seconds=2, clients=4, seed=1, bar=Progress(disable=True)
        )
    assert facts["faults"] == []
    assert facts["outcomes"]["200"] > 0 and facts["outcomes"]["400"] > 0
    assert set(facts["outcomes"]) <= {"200", "400", "left", "left too late"}
    assert all(mib > 0 for mib in facts["server_mib"])


@pytest.mark.usefixtures("answerable")
async def test_refusals_by_design_are_none_and_others_are_faults() -> None:
    fake, chance = engine(), random.Random(2)
    async with listening(app_with(fake, max_running_tokens=1, max_queued=0)) as url:
        fake.refuse = ApiError("Broken.", status=503, code="engine_busy")
        async with httpx.AsyncClient(base_url=url) as http:
            outcomes = [await overload.ask(http, chance) for _ in range(20)]
    assert any(outcome == "503" and fault and "engine_busy" in fault for outcome, fault in outcomes)
    assert all(fault is None for outcome, fault in outcomes if outcome == "400")


def test_tokens_are_compared_in_the_same_shape() -> None:
    assert (
        overload.tokens_of_server(METRICS) == overload.tokens_of_vllm(METRICS) == {"read": 42, "written": 5}
    )
