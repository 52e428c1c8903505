"""Best-of-N through the HTTP layer: the winner, the reply, the events of a stream, and cancelling."""

import asyncio
from dataclasses import replace

import httpx
import numpy as np
import pytest

from model.video.tiles import Video
from server.engine_interface import ignore_tokens
from server.errors import ApiError
from server.protocol.chat_call import parse_call
from server.protocol.request_fields import ScalingFields
from server.services.chat import complete
from server.telemetry.metrics import Metrics
from tests.server.apps import app_with, client_of, events_of, listening, question, settings
from tests.server.fakes import FakeCritic, FakeEngine
from ttscaling.types import PolicyError

ANSWERS = ("one", "two words", "three")
SCORES = {"one": [0.2, 0.4], "two words": [0.9], "three": [0.5, 0.5, 0.8]}
VIDEOS = {
    "internvl3:key": Video(
        tiles=np.zeros((1, 1, 56, 56, 3), np.uint8),
        times_F=np.zeros(1),
        width=56,
        height=56,
        duration=1.0,
        total_frames=30,
        backend="pyav",
        missing=0,
    )
}


def engine() -> FakeEngine:
    return FakeEngine(ANSWERS, FakeCritic(SCORES))


async def post(fake: FakeEngine, **extra) -> httpx.Response:
    async with client_of(app_with(fake)) as client:
        return await client.post("/v1/chat/completions", json=question(**extra))


async def test_plain_request_goes_to_the_engine_untouched():
    fake = engine()
    reply = await post(fake, temperature=0, top_p=0.5, tools=None)
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == "one"
    assert "test_time_scaling" not in reply.json()
    (body,) = fake.bodies
    assert body["temperature"] == 0 and body["top_p"] == 0.5 and "best_of" not in body


async def test_best_of_replies_with_the_winner_and_a_report():
    reply = (await post(engine(), best_of=3, seed=5)).json()
    assert reply["choices"][0]["message"]["content"] == "two words"
    report = reply["test_time_scaling"]
    assert report["method"] == "best_of_n" and report["selected"] == 1
    assert report["critic"] == "fake-critic" and report["aggregation"] == "mean" and report["seed"] == 5
    assert [candidate["index"] for candidate in report["candidates"]] == [0, 1, 2]
    assert [candidate["score"] for candidate in report["candidates"]] == pytest.approx([0.3, 0.9, 0.6])
    assert report["candidates"][2]["step_scores"] == [0.5, 0.5, 0.8]
    assert "text" not in report["candidates"][0]
    assert report["usage"] == {
        "policy": {"prompt": 21, "cached": 12, "completion": 4},
        "critic": {"prompt": 40, "cached": 16},  # it also read ahead, without a score
    }
    assert reply["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}


async def test_a_critic_with_other_tiles_scores_no_video():
    fake = engine()
    assert fake.critic is not None
    fake.critic.tile_size = 28
    call = parse_call(question(best_of=2), settings()).with_media(question()["messages"], VIDEOS)
    with pytest.raises(ApiError, match="self_consistency") as refused:
        await complete(fake, fake.critic, call, Metrics(), ignore_tokens)
    assert refused.value.param == "test_time_scaling.method" and not fake.bodies
    majority = replace(call, scaling=ScalingFields(method="self_consistency", n=2))
    await complete(fake, fake.critic, majority, Metrics(), ignore_tokens)
    assert fake.media == [VIDEOS]
    await complete(fake, fake.critic, parse_call(question(best_of=2), settings()), Metrics(), ignore_tokens)


async def test_candidates_are_returned_on_request():
    scaling = {"n": 3, "return_candidates": True, "aggregation": "min"}
    report = (await post(engine(), test_time_scaling=scaling)).json()["test_time_scaling"]
    assert [candidate["text"] for candidate in report["candidates"]] == list(ANSWERS)
    assert report["candidates"][0]["steps"] == ["step 0", "step 1"]
    assert [candidate["score"] for candidate in report["candidates"]] == [0.2, 0.9, 0.5]


async def test_alias_does_what_best_of_does():
    fake = engine()
    by_field = (await post(fake, best_of=8, seed=3)).json()
    by_alias = (await post(fake, model="nano:bo8", seed=3)).json()
    assert len(by_alias["test_time_scaling"]["candidates"]) == 8
    assert by_alias == by_field
    assert {**fake.bodies[1], "request_id": fake.bodies[0]["request_id"]} == fake.bodies[0]


async def test_n_returns_the_n_best_in_order():
    reply = (await post(engine(), best_of=3, n=2)).json()
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["two words", "three"]


async def test_without_a_seed_the_server_draws_one_and_reports_it():
    fake = engine()
    seeds = {(await post(fake, best_of=2)).json()["test_time_scaling"]["seed"] for _ in range(3)}
    assert len(seeds) > 1
    assert {body["seed"] for body in fake.bodies} == seeds


async def test_temperature_zero_does_not_reach_sampled_candidates():
    fake = engine()
    await post(fake, best_of=2, temperature=0)
    await post(fake, best_of=2, temperature=0.5)
    assert "temperature" not in fake.bodies[0] and fake.bodies[1]["temperature"] == 0.5


async def test_a_critic_that_fails_degrades_and_says_so():
    fake = FakeEngine(["yes", "no", "no"], FakeCritic({}))
    report = (await post(fake, best_of=3)).json()["test_time_scaling"]
    assert report["selected"] == 1  # the majority's first
    assert "no score for" in report["degraded"] and report["candidates"][0]["score"] is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_critic_that_fails_fails_the_request_if_asked(stream):
    scaling = {"n": 2, "on_critic_error": "fail"}
    reply = await post(FakeEngine(["yes", "no"], FakeCritic({})), test_time_scaling=scaling, stream=stream)
    if stream:
        (chunk,) = events_of(reply.text)[1]
        assert "critic failed" in chunk["error"]["message"]
    else:
        assert reply.status_code == 503 and "critic failed" in reply.json()["error"]["message"]


@pytest.mark.parametrize("alive", [True, False])
async def test_nobody_is_asked_to_retry_with_a_critic_that_is_gone(alive: bool):
    fake = FakeEngine(["yes", "no"], FakeCritic({}))
    assert fake.critic is not None
    fake.critic.alive = alive
    reply = await post(fake, test_time_scaling={"n": 2, "on_critic_error": "fail"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (503, "critic_failed")
    assert ("Retry" in error["message"]) == ("retry-after" in reply.headers) == alive
    assert reply.headers.get("x-should-retry") == (None if alive else "false")


@pytest.mark.parametrize(
    "fields",
    [{"best_of": 2}, {"model": "nano:bo2"}, {"test_time_scaling": {"n": 2, "method": "weighted_vote"}}],
)
async def test_the_operator_says_what_happens_if_the_request_does_not(fields):
    fake = FakeEngine(["yes", "no"], FakeCritic({}))
    async with client_of(app_with(fake, on_critic_error="fail")) as client:
        refused = await client.post("/v1/chat/completions", json=question(**fields))
        chosen = {"n": 2, "on_critic_error": "self_consistency"}
        answered = await client.post("/v1/chat/completions", json=question(test_time_scaling=chosen))
    assert refused.status_code == 503 and "critic failed" in refused.json()["error"]["message"]
    assert answered.status_code == 200 and answered.json()["test_time_scaling"]["degraded"]


async def test_self_consistency_needs_no_critic():
    fake = FakeEngine(["yes", "no", "no"])
    async with client_of(app_with(fake, critic="none")) as client:
        refused = await client.post("/v1/chat/completions", json=question(best_of=3))
        voted = await client.post(
            "/v1/chat/completions", json=question(test_time_scaling={"method": "self_consistency", "n": 3})
        )
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "test_time_scaling.method"
    report = voted.json()["test_time_scaling"]
    assert report["selected"] == 1 and report["critic"] is None and report["aggregation"] is None


async def test_a_stream_reports_progress_and_then_the_winner():
    comments, chunks = events_of((await post(engine(), best_of=3, stream=True, seed=1)).text)
    assert [comment for comment in comments if "finished" in comment] == [
        f"candidate {number}/3 finished" for number in (1, 2, 3)
    ]
    assert len([comment for comment in comments if "scored" in comment]) == 3
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert deltas == ["", "two", "words", None]
    assert all("test_time_scaling" not in chunk and "usage" not in chunk for chunk in chunks[:-1])
    assert chunks[-1]["test_time_scaling"]["selected"] == 1
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    plain = (await post(engine(), best_of=3, seed=1)).json()
    assert plain["test_time_scaling"] == chunks[-1]["test_time_scaling"]


async def test_the_critic_sees_the_conversation_and_how_images_are_seen():
    fake = engine()
    await post(fake, best_of=2, v2pe_delta=0.25)
    assert fake.critic is not None
    conversation = fake.critic.conversations[0]
    assert conversation.messages == ({"role": "user", "content": "How many?"},)
    assert conversation.mm_processor_kwargs == {"v2pe_delta": 0.25}


@pytest.mark.parametrize("extra", [{}, {"best_of": 2}, {"best_of": 2, "stream": True}])
async def test_a_client_that_leaves_cancels_its_work(extra):
    fake = FakeEngine([None], FakeCritic({}))
    async with listening(app_with(fake)) as url, httpx.AsyncClient(base_url=url) as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json=question(**extra)))
        await fake.running.wait()
        request.cancel()
        async with asyncio.timeout(5):
            while fake.cancelled == 0:
                await asyncio.sleep(0.01)
        assert (await client.get("/livez")).status_code == 200
        ended = 'internvl3_selections_total{method="best_of_n",outcome="cancelled"} 1.0'
        assert (ended in (await client.get("/metrics")).text) == bool(extra)


async def test_a_stream_opens_no_choice_that_never_comes():
    """The request asks for two answers, and the second candidate never ends."""
    fake = FakeEngine(["one", None], FakeCritic({"one": [0.9]}))
    scaling = {"n": 2, "stop_score": 0.5}
    _, chunks = events_of((await post(fake, n=2, stream=True, test_time_scaling=scaling)).text)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert {choice["index"] for choice in choices} == {0}
    assert chunks[-1]["test_time_scaling"]["stopped"] == "score"


async def test_a_stream_that_fails_in_the_middle_still_ends_with_done():
    """The test uses a socket, because only there a reply that breaks off is seen."""
    fake = FakeEngine(ANSWERS, FakeCritic({}))
    body = question(stream=True, test_time_scaling={"n": 2, "on_critic_error": "fail"})
    async with listening(app_with(fake)) as url, httpx.AsyncClient(base_url=url) as client:
        reply = await client.post("/v1/chat/completions", json=body)
    comments, chunks = events_of(reply.text)
    assert comments and len(chunks) == 1
    assert "The critic failed" in chunks[0]["error"]["message"]


async def test_a_stream_that_is_refused_has_an_http_status():
    fake = engine()
    fake.refuse = ApiError("too long", param="messages", code="context_length_exceeded")
    reply = await post(fake, best_of=2, stream=True)
    assert reply.status_code == 400
    assert reply.json()["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


class Busy(FakeEngine):
    """An engine that admits only some candidates."""

    def __init__(self, admitted: set[int]) -> None:
        super().__init__(["yes"], FakeCritic({"yes": [0.5]}))
        self._admitted = admitted

    async def generate(self, index: int) -> str:
        if index not in self._admitted:
            refusal = ApiError("The engine is busy. Retry in a few seconds.", status=503, code="engine_busy")
            raise PolicyError(refusal.message) from refusal
        return await super().generate(index)


@pytest.mark.parametrize("method", ["best_of_n", "self_consistency"])
async def test_candidates_that_the_engine_refuses_are_left_out(method: str):
    scaling = {"method": method, "n": 4}
    async with client_of(app_with(Busy({1, 3}))) as client:
        reply = await client.post("/v1/chat/completions", json=question(test_time_scaling=scaling))
    report = reply.json()["test_time_scaling"]
    assert reply.status_code == 200 and report["selected"] in (1, 3)
    assert "candidate 0 failed: The engine is busy" in report["degraded"]


@pytest.mark.parametrize("stream", [False, True])
async def test_if_the_engine_refuses_all_its_own_reason_is_the_reply(stream: bool):
    async with client_of(app_with(Busy(set()))) as client:
        reply = await client.post("/v1/chat/completions", json=question(best_of=4, stream=stream))
    assert reply.status_code == 503 and reply.json()["error"]["code"] == "engine_busy"
    assert reply.headers["retry-after"]
