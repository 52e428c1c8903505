"""The stand-in engine client: what each candidate is asked, what is replayed, and that nothing is left
running.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from server.candidates import Candidates, FanOut, sampling_of
from server.errors import ApiError
from ttscaling.types import Candidate, Conversation, FailedCandidate, Policy

CONVERSATION = Conversation(messages=(), mm_processor_kwargs={})


def params(**extra: Any) -> SimpleNamespace:
    base = {"n": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 10, "stop": ["x"]}
    return SimpleNamespace(**base | extra)


def output(text: str, *, finish: str | None = "stop", tokens: int = 1) -> SimpleNamespace:
    completion = SimpleNamespace(index=0, text=text, token_ids=[0] * tokens, finish_reason=finish)
    return SimpleNamespace(outputs=[completion], prompt_token_ids=[1, 2, 3], num_cached_tokens=None)


class Client:
    """Answers request NAME-k with the k-th script; remembers what it was asked and who was cancelled."""

    model = "the client's own"

    def __init__(self, *scripts: list[SimpleNamespace] | None) -> None:
        self.scripts = scripts
        self.asked: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
        self.cancelled: list[str] = []

    async def generate(self, prompt: Any, own: Any, name: str, **options: Any) -> AsyncGenerator[Any, None]:
        self.asked[name] = (prompt, own, options)
        script = self.scripts[int(name.rpartition("-")[2])]
        if script is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
        for item in script or []:
            await asyncio.sleep(0)
            yield item


async def run(client: Client, order: list[int], *, streamed: bool) -> list[SimpleNamespace]:
    async def choose(policy: Policy) -> list[int]:
        n = len(client.scripts)
        assert len([c async for c in policy.sample(CONVERSATION, n=n, include_greedy=True)]) == n
        return order

    fan_out = FanOut(client, choose, streamed=streamed)
    return [item async for item in fan_out.generate("prompt", params(), "r", priority=3)]


def test_candidates_differ_in_seed_only_and_the_greedy_one_in_all():
    greedy, first, second = (sampling_of(params(), index, greedy=index == 0) for index in range(3))
    assert (greedy.temperature, greedy.top_p, greedy.top_k, greedy.min_p) == (0.0, 1.0, 0, 0.0)
    assert (first.temperature, first.top_p, first.seed, first.n) == (0.7, 0.9, 11, 1)
    assert second.seed == 12
    first.stop.append("y")
    assert second.stop == ["x"]


def test_seeds_stay_in_their_range():
    assert sampling_of(params(seed=2**63 - 1), 1, greedy=False).seed == 0
    assert sampling_of(params(seed=-1), 1, greedy=False).seed == 0


def test_a_greedy_default_does_not_make_all_candidates_equal():
    assert sampling_of(params(temperature=0), 1, greedy=False).temperature == 1.0


async def test_every_candidate_is_one_request_on_the_same_prompt():
    client = Client([output("a")], [output("b")])
    await run(client, [0], streamed=False)
    assert set(client.asked) == {"r-0", "r-1"}
    assert {prompt for prompt, _, _ in client.asked.values()} == {"prompt"}
    assert all(options == {"priority": 3} for _, _, options in client.asked.values())
    assert FanOut(client, lambda policy: asyncio.sleep(0, [0]), streamed=False).model == "the client's own"


async def test_replay_of_finals_is_one_output_with_the_choices_in_order():
    client = Client([output("a")], [output("b")], [output("c")])
    (replayed,) = await run(client, [2, 0], streamed=False)
    assert [(choice.index, choice.text) for choice in replayed.outputs] == [(0, "c"), (1, "a")]


async def test_replay_of_a_stream_is_every_delta_under_its_new_index():
    deltas = [output("b", finish=None), output("c")]
    client = Client([output("a")], deltas)
    replayed = await run(client, [1, 0], streamed=True)
    assert [(o.outputs[0].index, o.outputs[0].text) for o in replayed] == [(0, "b"), (0, "c"), (1, "a")]
    assert deltas[0].outputs[0].index == 0, "the engine's own outputs stay as they are"


async def test_a_candidate_sums_up_its_deltas():
    deltas = [output("b", finish=None, tokens=2), output("c", finish="length", tokens=3)]
    policy = Candidates(lambda own, name: Client(deltas).generate("p", own, name), params(), "r")
    (candidate,) = [c async for c in policy.sample(CONVERSATION, n=1, include_greedy=False)]
    assert isinstance(candidate, Candidate)
    assert (candidate.text, candidate.finish_reason) == ("bc", "length")
    assert (candidate.prompt_tokens, candidate.cached_tokens, candidate.completion_tokens) == (3, 0, 5)


async def test_closing_early_cancels_the_rest():
    client = Client([output("a")], None, None)
    policy = Candidates(lambda own, name: client.generate("p", own, name), params(), "r")
    async with aclosing(policy.sample(CONVERSATION, n=3, include_greedy=True)) as answers:
        assert (await anext(answers)).index == 0
    assert sorted(client.cancelled) == ["r-1", "r-2"]


async def test_a_candidate_that_breaks_off_fails_alone():
    client = Client([output("a", finish="abort")], [output("b")])
    policy = Candidates(lambda own, name: client.generate("p", own, name), params(), "r")
    answers = {c.index: c async for c in policy.sample(CONVERSATION, n=2, include_greedy=True)}
    assert isinstance(answers[1], Candidate)
    failed = answers[0]
    assert isinstance(failed, FailedCandidate)
    assert failed.reason == "it ended with abort"


async def test_a_failed_choice_is_remembered():
    async def choose(policy: Policy) -> list[int]:
        raise ApiError("no")

    fan_out = FanOut(Client(), choose, streamed=True)
    with pytest.raises(ApiError):
        await anext(fan_out.generate("prompt", params(), "r"))
    assert isinstance(fan_out.failure, ApiError)
