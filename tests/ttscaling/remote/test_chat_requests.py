import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from ttscaling.methods.best_of_n import best_of_n
from ttscaling.remote.critic import RemoteCritic
from ttscaling.remote.policy import RemotePolicy
from ttscaling.seeds import candidate_seed
from ttscaling.types import EMPTY_ANSWER, Conversation, CriticError, PolicyError

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
QUESTION = Conversation(
    messages=({"role": "user", "content": [IMAGE, {"type": "text", "text": "Sum of row 1?"}]},),
    mm_processor_kwargs={"v2pe_delta": 0.25},
)
USAGE = {"prompt_tokens": 20, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 16}}
Reply = Callable[[dict[str, Any]], Awaitable[httpx.Response]]


def server(reply: Reply) -> httpx.AsyncClient:
    """Return a client of a chat server that sends the replies of `reply`."""

    async def app(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/chat/completions"
        return await reply(json.loads(request.content))

    return httpx.AsyncClient(transport=httpx.MockTransport(app), base_url="http://chat/v1/")


def completion(text: str) -> httpx.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return httpx.Response(200, json={"choices": [choice], "usage": USAGE})


def reading(**logprobs: float) -> httpx.Response:
    top = [{"token": token, "logprob": logprob} for token, logprob in logprobs.items()]
    choice = {"message": {"content": "+"}, "logprobs": {"content": [{"token": "+", "top_logprobs": top}]}}
    return httpx.Response(200, json={"choices": [choice], "usage": USAGE})


async def test_candidates_are_separate_requests_that_differ_only_in_sampling() -> None:
    bodies: list[dict[str, Any]] = []

    async def reply(body: dict[str, Any]) -> httpx.Response:
        bodies.append(body)
        return completion(f"seed {body['seed']} at {body['temperature']}")

    policy = RemotePolicy(
        server(reply), model="nano", sampling={"temperature": 0.7, "seed": 40, "max_tokens": 99}
    )
    candidates = [await policy.sample(QUESTION, index=index, greedy=index == 0) for index in range(3)]
    texts = {candidate.index: candidate.text for candidate in candidates}
    first, second = candidate_seed(40, 1), candidate_seed(40, 2)
    assert texts == {0: "seed 40 at 0.0", 1: f"seed {first} at 0.7", 2: f"seed {second} at 0.7"}
    assert [(c.prompt_tokens, c.cached_tokens, c.completion_tokens) for c in candidates] == [(20, 16, 6)] * 3
    for body in bodies:
        assert body["model"] == "nano"
        assert body["messages"] == list(QUESTION.messages)
        assert body["mm_processor_kwargs"] == {"v2pe_delta": 0.25}
        assert body["max_tokens"] == 99


async def test_cancelling_ends_the_request() -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def reply(body: dict[str, Any]) -> httpx.Response:
        try:
            arrived.set()
            return await asyncio.Event().wait() and completion("never")
        except asyncio.CancelledError:
            cancelled.set()
            raise

    policy = RemotePolicy(server(reply), model="nano", sampling={"seed": 0})
    sampling = asyncio.create_task(policy.sample(QUESTION, index=0, greedy=False))
    await arrived.wait()
    sampling.cancel()
    await asyncio.wait([sampling])
    assert cancelled.is_set()


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(400, json={"error": {"message": "prompt too long"}}), "HTTP 400.*prompt too long"),
        (httpx.Response(200, text="<html>"), "unexpected reply"),
        (httpx.Response(200, json={"choices": []}), "unexpected reply"),
    ],
)
async def test_failures_carry_the_servers_words(response: httpx.Response, message: str) -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        return response

    policy = RemotePolicy(server(reply), model="nano", sampling={})
    with pytest.raises(PolicyError, match=f"^nano: .*{message}"):
        await policy.sample(QUESTION, index=0, greedy=True)
    with pytest.raises(PolicyError, match=f"^nano: .*{message}"):
        await policy.extend(QUESTION, EMPTY_ANSWER, index=3, greedy=False)
    with pytest.raises(CriticError, match=f"critic prm.*{message}"):
        await RemoteCritic(server(reply), model="prm").score(QUESTION, "a\n\nb")


async def test_an_unreachable_server_is_a_policy_error() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    policy = RemotePolicy(server(reply), model="nano", sampling={})
    with pytest.raises(PolicyError, match=r"candidate 0 failed: .*ConnectError: connection refused"):
        await best_of_n(policy, RemoteCritic(server(reply), model="prm"), QUESTION, n=2)


def step(text: str, reason: str | int | None) -> httpx.Response:
    """Return vLLM's reply to a request with stop strings."""
    choice = {"message": {"content": text}, "finish_reason": "stop", "stop_reason": reason}
    return httpx.Response(200, json={"choices": [choice], "usage": USAGE})


async def test_a_step_continues_the_answer_so_far() -> None:
    bodies: list[dict[str, Any]] = []

    async def reply(body: dict[str, Any]) -> httpx.Response:
        bodies.append(body)
        return step("3, 4.", "\n\n") if len(bodies) == 1 else step("Final answer: 7", None)

    policy = RemotePolicy(
        server(reply),
        model="nano",
        sampling={"seed": 5, "temperature": 0.7, "stop": "END", "max_tokens": 50},
    )
    first = await policy.extend(QUESTION, EMPTY_ANSWER, index=0, greedy=True)
    last = await policy.extend(QUESTION, first, index=4, greedy=False)
    assert (first.text, first.finish_reason) == ("3, 4.", None)
    assert (last.text, last.finish_reason, last.prompt_tokens) == ("Final answer: 7", "stop", 20)
    assert [body["stop"] for body in bodies] == [["END", "\n\n"]] * 2
    assert [(body["seed"], body["temperature"]) for body in bodies] == [(5, 0.0), (candidate_seed(5, 4), 0.7)]
    assert [body["max_tokens"] for body in bodies] == [50, 44]
    assert bodies[0]["messages"] == list(QUESTION.messages)
    assert "continue_final_message" not in bodies[0]
    assert bodies[1]["messages"] == [*QUESTION.messages, {"role": "assistant", "content": "3, 4.\n\n"}]
    assert (bodies[1]["continue_final_message"], bodies[1]["add_generation_prompt"]) == (True, False)


async def test_another_stop_string_ends_the_answer() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        return step("so 7", "END")

    policy = RemotePolicy(server(reply), model="nano", sampling={"stop": ["END"]})
    assert (await policy.extend(QUESTION, EMPTY_ANSWER, index=0, greedy=True)).finish_reason == "stop"


async def test_a_server_that_does_not_return_its_stop_string_is_refused() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        return completion("3, 4.")

    with pytest.raises(PolicyError, match="stop_reason"):
        await RemotePolicy(server(reply), model="nano", sampling={}).extend(
            QUESTION, EMPTY_ANSWER, index=0, greedy=True
        )


async def test_the_critic_requests_one_token_per_step() -> None:
    bodies: list[dict[str, Any]] = []

    async def reply(body: dict[str, Any]) -> httpx.Response:
        bodies.append(body)
        sure = 0.9 if len(body["messages"]) == 1 else 0.6
        return reading(**{"+": math.log(sure / 2), "-": math.log((1 - sure) / 2), "?": math.log(0.5)})

    critic = RemoteCritic(server(reply), model="prm", token_ids={"+": 10, "-": 12})
    scores = await critic.score(QUESTION, "3, 4.\n\nFinal answer: 7")
    assert scores.steps == ("3, 4.", "Final answer: 7")
    assert scores.scores == pytest.approx((0.9, 0.6))
    assert (scores.prompt_tokens, scores.cached_tokens) == (40, 32)
    assert sorted(len(body["messages"]) for body in bodies) == [1, 3]
    for body in bodies:
        assert body["messages"][0]["content"][1] == IMAGE
        assert (body["max_tokens"], body["logprobs"], body["logprob_token_ids"]) == (1, True, [10, 12])
        assert body["mm_processor_kwargs"] == {"v2pe_delta": 0.25}


async def test_a_missing_label_is_an_error_not_a_score() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        assert "logprob_token_ids" not in body
        return reading(**{"+": -0.1, "yes": -2.0})

    with pytest.raises(CriticError, match="not both among the tokens"):
        await RemoteCritic(server(reply), model="prm").score(QUESTION, "a")


async def test_best_of_n_over_http() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        if body["model"] == "nano":
            return completion(
                "Final answer: 7" if body["seed"] == candidate_seed(0, 2) else "Final answer: 8"
            )
        right = "7" in str(body["messages"])
        return reading(**{"+": -0.1 if right else -3.0, "-": -3.0 if right else -0.1})

    async with server(reply) as client:
        policy = RemotePolicy(client, model="nano", sampling={"seed": 0})
        selection = await best_of_n(policy, RemoteCritic(client, model="prm"), QUESTION, n=4)
    assert selection.selected == 2
    assert selection.winner.candidate.text == "Final answer: 7"
