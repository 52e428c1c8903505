"""The endpoint /v1/critic/score over HTTP, with a critic whose scores are known."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from server.services.scoring import ScoreBatchRequest, ScoreRequest
from tests.server.apps import app_with, client_of
from tests.server.fakes import FakeCritic, FakeEngine
from tests.server.media.test_loader import data_url, encoded

PATH = "/v1/critic/score"
TABLE = {"good": (0.9,), "fair\n\nbad": (0.5, 0.1)}
USER = [{"role": "user", "content": "How many?"}]


async def post(body: Any, *, engine: FakeEngine | None = None, **settings: Any) -> httpx.Response:
    engine = engine or FakeEngine(["x"], FakeCritic(TABLE))
    async with client_of(app_with(engine, **settings)) as client:
        return await client.post(PATH, json=body)


def score_body(*answers: str | Sequence[str], **more: Any) -> dict[str, Any]:
    return {"messages": USER, "answers": list(answers), **more}


async def test_every_answer_gets_its_steps_scores():
    reply = (await post(score_body("good", "fair\n\nbad", model="fake-critic"))).json()
    assert reply["object"] == "critic.score" and reply["model"] == "fake-critic"
    first, second = reply["scores"]
    assert first["index"] == 0 and first["score"] == 0.9 and first["step_scores"] == [0.9]
    assert second["score"] == pytest.approx(0.3) and second["step_scores"] == [0.5, 0.1]
    assert second["usage"] == {"prompt_tokens": 10, "cached_tokens": 4}
    assert reply["usage"] == {"prompt_tokens": 20, "cached_tokens": 8}


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("min", 0.1), ("last", 0.1), ("max", 0.5), ("product", 0.05), ("mean", 0.3)]
)
async def test_aggregation(aggregation: str, expected: float):
    reply = await post(score_body(["fair", "bad"], aggregation=aggregation))
    assert reply.json()["scores"][0]["score"] == pytest.approx(expected)


async def test_an_answer_that_cannot_be_scored_has_an_error_instead():
    first, second, third = (await post(score_body("unknown", "good", "  "))).json()["scores"]
    assert first["index"] == 0 and first["error"]["type"] == "server_error" and "score" not in first
    assert second["score"] == 0.9
    assert third["index"] == 2 and third["error"]["param"] == "answers[2]"


async def test_the_usage_counts_what_was_read_for_an_answer_without_a_score():
    reply = (await post(score_body("unknown", "good"))).json()
    assert reply["scores"][1]["usage"] == {"prompt_tokens": 10, "cached_tokens": 4}
    assert reply["usage"] == {"prompt_tokens": 20, "cached_tokens": 8}


async def test_the_request_fails_with_the_first_error_if_no_answer_can_be_scored():
    reply = await post(score_body("unknown", ""))
    assert reply.status_code == 503 and "unknown" in reply.json()["error"]["message"]


async def test_a_batch_replies_in_order_and_each_input_has_its_own_error():
    broken = {"messages": [{"role": "user", "content": [image("data:image/png;base64,AAAA")]}]}
    reply = await post(
        {"inputs": [score_body("good"), {**broken, "answers": ["good"]}, score_body(["fair", "bad"])]}
    )
    body = reply.json()
    assert reply.status_code == 200 and body["object"] == "list"
    good, failed, fair = body["data"]
    assert good["index"] == 0 and good["scores"][0]["score"] == 0.9
    assert failed["index"] == 1 and failed["error"]["param"] == "messages[0].content[0].image_url"
    assert fair["scores"][0]["step_scores"] == [0.5, 0.1] and fair["usage"]["prompt_tokens"] == 10


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


async def test_the_question_is_seen_as_a_chat_would_see_it():
    engine = FakeEngine(["x"], FakeCritic(TABLE))
    content = [image(data_url(encoded("PNG"))), {"type": "text", "text": "?"}]
    kwargs = {"v2pe_delta": 0.25, "max_dynamic_patch": 2}
    body = score_body("good") | {
        "messages": [{"role": "user", "content": content}],
        "mm_processor_kwargs": kwargs,
    }
    assert (await post(body, engine=engine)).status_code == 200
    assert engine.critic is not None
    (conversation,) = engine.critic.conversations
    assert conversation.mm_processor_kwargs == kwargs
    part = conversation.messages[0]["content"][0]
    assert part["image_url"]["url"].removeprefix("internvl3:") == part["uuid"]


REFUSED: dict[str, tuple[Any, int, str | None]] = {
    "no answers": (score_body(), 400, "answers"),
    "answers missing": ({"messages": USER}, 400, "answers"),
    "messages missing": ({"answers": ["good"]}, 400, "messages"),
    "an answer that is a number": (score_body("good", 3), 400, "answers[1]"),  # type: ignore[arg-type]
    "blank answer": (score_body(" \n\n "), 400, "answers[0]"),
    "no steps": (score_body([]), 400, "answers[0]"),
    "no question": (score_body("good") | {"messages": [{"role": "system", "content": "?"}]}, 400, "messages"),
    "no role": (score_body("good") | {"messages": [{"content": "?"}]}, 400, "messages[0]"),
    "unknown aggregation": (score_body("good", aggregation="median"), 400, "aggregation"),
    "unknown field": (score_body("good", agregation="min"), 400, "agregation"),
    "unknown option": (
        score_body("good", mm_processor_kwargs={"delta": 1}),
        400,
        "mm_processor_kwargs.delta",
    ),
    "delta": (score_body("good", v2pe_delta=2), 400, "v2pe_delta"),
    "too many": (score_body(*["good"] * 5), 400, "answers"),
    "too many in a batch": ({"inputs": [score_body("good", "good", "good")] * 2}, 400, "answers"),
    "empty batch": ({"inputs": []}, 400, "inputs"),
    "bad input in a batch": ({"inputs": [score_body("good"), score_body()]}, 400, "inputs[1].answers"),
    "unknown model": (score_body("good", model="nano"), 404, "model"),
    "unknown model of a batch": ({"inputs": [score_body("good")], "model": "x"}, 404, "model"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_input_is_refused_by_name(case: str):
    body, status, param = REFUSED[case]
    reply = await post(body, max_answers=4)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert error["type"] == "invalid_request_error" and error["message"].endswith((".", ")"))


async def test_without_a_critic_or_with_a_dead_one():
    none = await post(score_body("good"), engine=FakeEngine(["x"]))
    assert none.status_code == 404 and none.json()["error"]["code"] == "no_critic"
    engine = FakeEngine(["x"], FakeCritic(TABLE))
    assert engine.critic is not None
    engine.critic.alive = False
    dead = await post(score_body("good"), engine=engine)
    assert dead.status_code == 503 and dead.json()["error"]["code"] == "engine_stopped"


async def test_videos_need_a_critic_with_the_policys_tiles(clip):
    engine = FakeEngine(["x"], FakeCritic(TABLE))
    assert engine.critic is not None
    engine.critic.tile_size = 28
    url = "data:video/mp4;base64," + base64.b64encode(clip("plain.mp4").read_bytes()).decode()
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "?"}]
    reply = await post(
        score_body("good") | {"messages": [{"role": "user", "content": content}]}, engine=engine
    )
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "messages"


async def test_limits_hold_for_all_inputs_together():
    """Each of 256 inputs once had the limits of a whole request."""
    picture = image(data_url(encoded("PNG", (10, 10))))
    one = {"messages": [{"role": "user", "content": [picture]}], "answers": ["good"]}
    reply = await post({"inputs": [one, one, one]}, max_images=2)
    errors = [entry for entry in reply.json()["data"] if "error" in entry]
    assert len(errors) == 1 and "hold 2 images, not 3" in errors[0]["error"]["message"]
    reply = await post({"inputs": [one, one, one]}, max_pixels=250)
    assert [entry["error"]["code"] for entry in reply.json()["data"] if "error" in entry] == [
        "image_too_large"
    ]


@pytest.mark.parametrize("answer", ["a\n\n" * 600, ["a"] * 600])
async def test_an_answer_of_too_many_steps_is_refused(answer: str | list[str]):
    reply = await post(score_body("good", answer))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "too_many_steps", "answers[1]")
    assert "600 steps" in error["message"] and "512" in error["message"]
    assert (await post(score_body(answer), max_answer_steps=600)).status_code == 503, "it is scored"


async def test_a_bug_in_one_input_ends_the_others():
    class Broken(FakeCritic):
        waiting = 0

        async def score_answers(self, conversation: Any, answers: Any, *, media: Any, count: Any) -> Any:
            if answers == [("bug",)]:
                raise RuntimeError
            type(self).waiting += 1
            try:
                await asyncio.Event().wait()
            finally:
                type(self).waiting -= 1

    inputs = [{"messages": USER, "answers": [answer]} for answer in ("good", "good", "bug")]
    reply = await post({"inputs": inputs}, engine=FakeEngine(["x"], Broken(TABLE)))
    assert reply.status_code == 500 and Broken.waiting == 0


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (ScoreRequest, {"answers": [0] * 1000}),
        (ScoreRequest, {"answers": [[0] * 1000]}),
        (ScoreRequest, {"messages": [0] * 1000}),
        (ScoreBatchRequest, {"inputs": [{}] * 1000}),
    ],
)
def test_the_errors_of_a_long_list_are_not_all_written(model: type[BaseModel], body: dict[str, Any]):
    """Writing 200,000 errors, of which the reply shows one, would stop the server for a second."""
    question = {} if "inputs" in body else {"messages": [{"role": "user", "content": "?"}], "answers": ["!"]}
    with pytest.raises(ValidationError) as refused:
        model.model_validate(question | body)
    assert refused.value.error_count() < 5
