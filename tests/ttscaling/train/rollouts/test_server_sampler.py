"""Answers and continuations from a chat server, over a real socket."""

from typing import Any

import pytest

from tests.clients.chat_server import Reply, chat_server
from tests.ttscaling.train.rollout_policy import PolicyServer
from ttscaling.asking.client import Refused, connected
from ttscaling.console import CommandError
from ttscaling.train.rollouts.server_sampler import Answer, ServerSampler, stated, usage_json

MESSAGE = {"role": "user", "content": "What is 3 + 4?"}


async def test_answers_come_in_one_request_and_in_order() -> None:
    with PolicyServer().running() as policy:
        async with connected(policy.url) as server:
            answers, usage = await ServerSampler(server, {"temperature": 0.5}).answers(MESSAGE, n=3, seed=8)
    (body,) = policy.answered
    assert body == {"temperature": 0.5, "messages": [MESSAGE], "n": 3, "seed": 8}
    assert len({answer.text for answer in answers}) > 1
    assert all(answer.complete for answer in answers)
    completion = sum(len(answer.text.split()) for answer in answers)
    assert usage_json(usage) == {"prompt": 10, "cached": 3, "completion": completion}


async def test_a_continuation_leaves_the_last_message_open() -> None:
    with PolicyServer().running() as policy:
        async with connected(policy.url) as server:
            await ServerSampler(server, {}).answers(MESSAGE, n=1, seed=8, begun="step 1")
    assert policy.answered[0]["messages"] == [MESSAGE, {"role": "assistant", "content": "step 1"}]
    assert policy.answered[0]["continue_final_message"] is True
    assert policy.answered[0]["add_generation_prompt"] is False


@pytest.mark.parametrize(
    ("continues", "refuses", "message"),
    [
        (True, lambda body: False, None),
        (True, lambda body: len(body["messages"]) == 2 and "continue_final_message" not in body, None),
        (False, lambda body: False, "begins a new answer"),
        (True, lambda body: "continue_final_message" in body, "--continuations 0"),
        (True, lambda body: True, "not now"),
    ],
    ids=["continues", "only so", "ignores it", "refuses it", "refuses all"],
)
async def test_whether_a_server_continues_is_found_out(
    continues: bool, refuses: Any, message: str | None
) -> None:
    policy = PolicyServer(lambda number, body: 400 if refuses(body) else None, continues=continues)
    with policy.running():
        async with connected(policy.url) as server:
            sampler = ServerSampler(server, {})
            if message is None:
                await sampler.check_continues()
            else:
                with pytest.raises(CommandError, match=message):
                    await sampler.check_continues()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_stumbles_is_asked_again(status: int) -> None:
    with PolicyServer(lambda number, body: status if number < 3 else None).running() as policy:
        async with connected(policy.url, pauses=(0, 0)) as server:
            await ServerSampler(server, {}).answers(MESSAGE, n=1, seed=0)
        assert policy.num_requests == 3
        policy.num_requests = 0
        async with connected(policy.url, pauses=(0,)) as server:
            with pytest.raises(CommandError, match=str(status)):
                await ServerSampler(server, {}).answers(MESSAGE, n=1, seed=0)


async def test_what_is_refused_is_not_asked_again() -> None:
    with PolicyServer(lambda number, body: 400).running() as policy:
        async with connected(policy.url, pauses=(0, 0)) as server:
            with pytest.raises(Refused, match="not now"):
                await ServerSampler(server, {}).answers(MESSAGE, n=1, seed=0)
    assert policy.num_requests == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({}, "OpenAI's form"),
        ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "heeds 'n'"),
    ],
)
async def test_unusable_replies_are_errors(reply: dict[str, Any], message: str) -> None:
    with chat_server(lambda body: Reply(reply)) as url:
        async with connected(url) as server:
            with pytest.raises(CommandError, match=message):
                await ServerSampler(server, {}).answers(MESSAGE, n=2, seed=0)


def test_a_text_that_was_cut_off_states_nothing() -> None:
    assert stated(Answer("Final answer: 12", complete=True)) == "12"
    assert stated(Answer("Final answer: 1", complete=False)) is None
