"""The candidates' engine client: the requests that it sends, their replay, and their cancellation."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from server.errors import ApiError
from server.prompts import PromptPolicy
from server.vllm_engine.policy.candidates import CandidateClient, Candidates, FindProblem
from server.vllm_engine.policy.generated import candidate_params
from ttscaling.seeds import candidate_seed
from ttscaling.steps import SEPARATOR
from ttscaling.types import (
    ABANDONED,
    EMPTY_ANSWER,
    Candidate,
    Conversation,
    InvalidCandidate,
    PolicyError,
    TokenUsage,
)

CONVERSATION = Conversation(messages=(), mm_processor_kwargs={})


class Kind(Enum):
    """A copy of vLLM's RequestOutputKind."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


def params(**extra: Any) -> SimpleNamespace:
    base = {"n": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 10, "stop": ["x"]}
    base |= {"output_kind": Kind.FINAL_ONLY, "max_tokens": 50, "min_tokens": 0, "structured_outputs": None}
    return SimpleNamespace(**base | extra)


def output(
    text: str, *, finish: str | None = "stop", tokens: int = 1, stopped_by: str | None = None
) -> SimpleNamespace:
    completion = SimpleNamespace(
        index=0,
        text=text,
        token_ids=[ord(text[-1:] or "?")] * tokens,
        finish_reason=finish,
        stop_reason=stopped_by,
        logprobs=[text] * tokens,
    )
    return SimpleNamespace(outputs=[completion], prompt_token_ids=[1, 2, 3], num_cached_tokens=None)


class Client:
    """Answers request NAME-k with script k. A script with None hangs there until the request is aborted.

    As in vLLM, an aborted request returns one more output.
    """

    model = "the client's own"
    renderer = SimpleNamespace(mm_processor_cache=None)

    def __init__(self, *scripts: Sequence[SimpleNamespace | None]) -> None:
        self.scripts = scripts
        self.later: list[SimpleNamespace] = []  # the outputs for further requests with the same name
        self.requests: dict[int, tuple[Any, Any, dict[str, Any]]] = {}
        self.names: set[str] = set()
        self.aborts: dict[str, asyncio.Event] = {}

    async def generate(
        self, prompt: Any, sampling_params: Any, name: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        index = int(name.rpartition("-")[2])
        script = [self.later.pop(0)] if name in self.names else self.scripts[index]
        self.names.add(name)
        self.requests[index] = (prompt, sampling_params, options)
        self.aborts[name] = asyncio.Event()
        for item in script:
            await asyncio.sleep(0)
            if item is None:
                await self.aborts[name].wait()
                yield output("unread", finish="abort", tokens=4)
            else:
                yield item

    async def abort(self, name: str) -> None:
        self.aborts[name].set()

    @property
    def aborted(self) -> list[int]:
        return sorted(int(name.rpartition("-")[2]) for name, event in self.aborts.items() if event.is_set())


def candidates(client: Client, *, find_problem: FindProblem | None = None, **extra: Any) -> Candidates:
    prompt = {"prompt_token_ids": [1, 2, 3], "mm_hashes": {"image": ["hash"]}}
    return Candidates(client, prompt, params(**extra), "r", {}, find_problem=find_problem)


async def run(client: Client, order: list[int], *, streamed: bool, **extra: Any) -> list[SimpleNamespace]:
    async def choose(policy: PromptPolicy) -> list[int]:
        for index in range(len(client.scripts)):
            await policy.sample(CONVERSATION, index=index, greedy=index == 0)
        return order

    candidate_client = CandidateClient(client, choose, streamed=streamed)
    kind = Kind.DELTA if streamed else Kind.FINAL_ONLY
    request_params = params(output_kind=kind, **extra)
    return [item async for item in candidate_client.generate("prompt", request_params, "r", priority=3)]


def test_candidates_differ_in_seed_only_and_the_greedy_one_in_all():
    greedy, first, second = (candidate_params(params(), index, greedy=index == 0) for index in range(3))
    assert (greedy.temperature, greedy.top_p, greedy.top_k, greedy.min_p) == (0.0, 1.0, 0, 0.0)
    assert (first.temperature, first.top_p, first.n) == (0.7, 0.9, 1)
    assert (first.seed, second.seed) == (candidate_seed(10, 1), candidate_seed(10, 2))
    first.stop.append("y")
    assert second.stop == ["x"]


def test_a_greedy_default_does_not_make_all_candidates_equal():
    assert candidate_params(params(temperature=0), 1, greedy=False).temperature == 1.0


async def test_every_candidate_is_one_request_on_the_same_prompt():
    client = Client([output("a")], [output("b")])
    await run(client, [0], streamed=False)
    assert set(client.requests) == {0, 1} and all(name.startswith("r-") for name in client.names)
    assert {prompt for prompt, _, _ in client.requests.values()} == {"prompt"}
    assert all(options == {"priority": 3} for _, _, options in client.requests.values())
    assert (
        CandidateClient(client, lambda policy: asyncio.sleep(0, [0]), streamed=False).model
        == "the client's own"
    )


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


async def test_requests_of_one_id_have_different_names():
    """Two clients may choose the same id, and an abort names a request."""
    first, second = Client([output("a")]), Client([output("a")])
    await run(first, [0], streamed=False)
    await run(second, [0], streamed=False)
    assert not first.names & second.names


async def test_a_candidate_sums_up_its_deltas():
    client = Client([output("b", finish=None, tokens=2), output("c", finish="length", tokens=3)])
    policy = candidates(client, output_kind=Kind.DELTA)
    candidate = await policy.sample(CONVERSATION, index=0, greedy=False)
    assert (candidate.text, candidate.finish_reason) == ("bc", "length")
    assert (candidate.prompt_tokens, candidate.cached_tokens, candidate.completion_tokens) == (3, 0, 5)
    assert policy.usage == TokenUsage(prompt=3, completion=5) and policy.prompt_tokens == 3


@pytest.mark.parametrize(
    ("kind", "engine_kind"), [(Kind.FINAL_ONLY, Kind.CUMULATIVE), (Kind.DELTA, Kind.DELTA)]
)
async def test_drafts_are_reported_only_if_streamed(kind: Kind, engine_kind: Kind):
    deltas = kind is Kind.DELTA
    end = output("" if deltas else "b", tokens=0 if deltas else 2)
    script = [output("b", finish=None, tokens=2), end]
    for streamed, expected_kind in ((True, engine_kind), (False, kind)):
        client, drafts = Client(script), list[Candidate]()
        policy = candidates(client, output_kind=kind)
        await policy.sample(CONVERSATION, index=0, greedy=False, streamed=streamed, on_draft=drafts.append)
        assert client.requests[0][1].output_kind is expected_kind
        reported = [(draft.text, draft.completion_tokens, draft.finish_reason) for draft in drafts]
        assert reported == ([("b", 2, None)] if streamed else [])


async def test_cancelling_aborts_and_reports_all_that_was_written():
    client, drafts = Client([output("a", finish=None, tokens=2), None]), list[Candidate]()
    policy = candidates(client, output_kind=Kind.DELTA)
    sampling = asyncio.create_task(policy.sample(CONVERSATION, index=0, greedy=False, on_draft=drafts.append))
    for _ in range(5):
        await asyncio.sleep(0)
    sampling.cancel()
    await asyncio.wait([sampling])
    assert sampling.cancelled() and client.aborted == [0]
    assert [(draft.text, draft.finish_reason) for draft in drafts] == [("aunread", ABANDONED)]
    assert policy.usage == TokenUsage(prompt=3, completion=6)
    (_, last) = policy.replay([0], streamed=True)
    assert last.outputs[0].finish_reason == "length", "at a time cap an aborted candidate can be chosen"


async def test_cancelled_in_the_turn_it_was_started_it_is_still_aborted():
    client = Client([None])
    policy = candidates(client)
    sampling = asyncio.create_task(policy.sample(CONVERSATION, index=0, greedy=False))
    await asyncio.sleep(0)
    sampling.cancel()
    await asyncio.wait([sampling])
    assert client.aborted == [0]


async def test_media_stay_as_fresh_here_as_in_the_engine():
    """vLLM has a cache of media here and in the engine. A later candidate would touch only the engine's."""
    touched: list[str] = []
    client = Client([output("a")], [output("b")])
    cache = SimpleNamespace(touch_sender_cache_item=touched.append)
    thread = SimpleNamespace(submit=lambda function, *arguments: function(*arguments))
    client.renderer = SimpleNamespace(mm_processor_cache=cache, _mm_executor=thread)
    policy = candidates(client)
    for index in range(2):
        await policy.sample(CONVERSATION, index=index, greedy=False)
    assert touched == ["hash", "hash"]


async def test_a_candidate_that_breaks_off_fails_alone_and_counts():
    policy = candidates(Client([output("a", finish="abort", tokens=7)], [output("b")], []))
    with pytest.raises(PolicyError, match="ended with abort"):
        await policy.sample(CONVERSATION, index=0, greedy=True)
    with pytest.raises(PolicyError, match="nothing"):
        await policy.sample(CONVERSATION, index=2, greedy=True)
    await policy.sample(CONVERSATION, index=1, greedy=False)
    assert policy.usage == TokenUsage(prompt=6, completion=8)


async def test_a_problem_makes_a_candidate_invalid_not_lost():
    def find_problem(text: str, token_ids: Sequence[int], finish_reason: str) -> str | None:
        return f"{text}, {len(token_ids)} tokens, {finish_reason}" if text == "bad" else None

    policy = candidates(Client([output("bad", tokens=2)], [output("good")]), find_problem=find_problem)
    with pytest.raises(InvalidCandidate, match="bad, 2 tokens, stop") as invalid:
        await policy.sample(CONVERSATION, index=0, greedy=False)
    assert invalid.value.candidate.text == "bad"
    assert policy.replay([0], streamed=False)[0].outputs[0].text == "bad"
    assert (await policy.sample(CONVERSATION, index=1, greedy=False)).text == "good"


async def search(policy: Candidates, *parents: int) -> list[Candidate]:
    """Extend candidate parents[k] as candidate k, for every k. The parent -1 is the empty answer."""
    written = {-1: EMPTY_ANSWER}
    for index, parent in enumerate(parents):
        written[index] = await policy.extend(CONVERSATION, written[parent], index=index, greedy=index == 0)
    return [written[index] for index in range(len(parents))]


async def test_a_step_goes_on_with_the_tokens_of_the_steps_before():
    client = Client(
        [output("a", tokens=2, stopped_by=SEPARATOR)],
        [output("b", tokens=3, stopped_by=SEPARATOR)],
        [output("c", tokens=1)],
        [output("d", finish="length")],
    )
    policy = candidates(client)
    steps = await search(policy, -1, 0, 1, 0)
    assert [(step.text, step.finish_reason) for step in steps] == [
        ("a", None),
        ("b", None),
        ("c", "stop"),
        ("d", "length"),
    ]
    a, b = ord("a"), ord("b")
    prompts = [client.requests[index][0] for index in range(4)]
    assert [prompt["prompt_token_ids"][3:] for prompt in prompts] == [[], [a, a], [a, a, b, b, b], [a, a]]
    assert all(prompt["mm_hashes"] == {"image": ["hash"]} for prompt in prompts)
    sampling = [client.requests[index][1] for index in range(4)]
    assert [each.max_tokens for each in sampling] == [50, 48, 45, 48]
    assert [each.seed for each in sampling[1:]] == [
        candidate_seed(10, index) for index in (1, 2, 3)
    ] and sampling[0].temperature == 0
    assert all(each.stop == ["x", SEPARATOR] for each in sampling)
    (replayed,) = policy.replay([2, 3], streamed=False)
    first, second = replayed.outputs
    assert (first.text, first.token_ids, first.logprobs) == (
        "a\n\nb\n\nc",
        [a, a, b, b, b, ord("c")],
        ["a", "a", "b", "b", "b", "c"],
    )
    assert (first.index, first.finish_reason, second.text, second.finish_reason) == (
        0,
        "stop",
        "a\n\nd",
        "length",
    )
    pieces = [piece.outputs[0] for piece in policy.replay([2], streamed=True)]
    assert [piece.text for piece in pieces] == ["a", "\n\nb", "\n\nc"]
    assert [piece.finish_reason for piece in pieces] == [None, None, "stop"]
    assert policy.usage == TokenUsage(prompt=12, completion=7)


async def test_an_answer_cut_between_steps_and_one_that_ends_behind_its_last():
    client = Client([output("a", stopped_by=SEPARATOR)], [output(" ")])
    policy = candidates(client)
    await search(policy, -1, 0)
    cut, ended = (policy.replay([index], streamed=False)[0].outputs[0] for index in range(2))
    assert (cut.text, cut.finish_reason, cut.stop_reason) == ("a", "length", None)
    assert (ended.text, ended.finish_reason) == ("a", "stop")


async def test_blank_paragraphs_are_passed_over_with_their_tokens():
    """Some models write more line breaks between two paragraphs than the separator has."""
    client = Client([output("", tokens=2, stopped_by=SEPARATOR)])
    client.later = [output("\n", stopped_by=SEPARATOR), output("a", tokens=3)]
    policy = candidates(client)
    (step,) = await search(policy, -1)
    assert (step.text, step.finish_reason, step.completion_tokens, step.prompt_tokens) == ("a", "stop", 6, 9)
    assert client.requests[0][0]["prompt_token_ids"][3:] == [ord("?")] * 2 + [ord("\n")]
    replayed = policy.replay([0], streamed=False)[0].outputs[0]
    assert (replayed.text, len(replayed.token_ids), replayed.finish_reason) == ("a", 6, "stop")
    client = Client([output("", stopped_by=SEPARATOR)])
    client.later = [output("", stopped_by=SEPARATOR)] * 9
    (step,) = await search(candidates(client), -1)
    assert (step.text, step.finish_reason) == ("", None) and len(client.later) < 9


async def test_steps_share_the_tokens_allowed_to_an_answer():
    client = Client([output("a", tokens=50, stopped_by=SEPARATOR)])
    _, last = await search(candidates(client), -1, 0)
    assert (last.text, last.finish_reason, last.completion_tokens) == ("", "length", 0)
    assert set(client.requests) == {0}


async def test_a_separator_that_is_a_stop_string_of_the_callers_ends_the_answer():
    client = Client([output("a", stopped_by=SEPARATOR)])
    (step,) = await search(candidates(client, stop=[SEPARATOR]), -1)
    assert step.finish_reason == "stop"


@pytest.mark.parametrize("stop", ["\nUser:", "\n\nUser", "a\n\nUser:", "User:"])
async def test_a_stop_string_may_begin_in_one_step_and_end_in_the_next(stop: str):
    first, second = output("a", stopped_by=SEPARATOR), output("User: more", stopped_by=SEPARATOR)
    client = Client([first], [second])
    policy = candidates(client, stop=["other", stop])
    _, last = await search(policy, -1, 0)
    across = stop != "User:"  # the engine finds "User:" itself
    assert (last.text, last.finish_reason) == (("", "stop") if across else ("User: more", None))
    replayed = policy.replay([1], streamed=False)[0].outputs[0]
    if across:
        assert (replayed.text, replayed.finish_reason, replayed.stop_reason) == ("a", "stop", stop)


async def test_a_format_cannot_be_kept_over_steps():
    with pytest.raises(ApiError, match="best_of_n") as refused:
        await search(candidates(Client(), structured_outputs={"json": {}}), -1)
    assert refused.value.param == "test_time_scaling.method"


async def test_a_failed_choice_is_remembered():
    async def choose(policy: PromptPolicy) -> list[int]:
        raise ApiError("no")

    candidate_client = CandidateClient(Client(), choose, streamed=True)
    with pytest.raises(ApiError):
        await anext(candidate_client.generate("prompt", params(), "r"))
    assert isinstance(candidate_client.failure, ApiError)
