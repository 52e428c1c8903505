"""All methods, and the rules that end a selection early, through the HTTP layer."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeCritic, FakeEngine
from ttscaling.methods.beam_search import beam_search
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.weighted_vote import weighted_vote

SEVEN, EIGHT, OTHER_EIGHT = "Final answer: 7", "Final answer: 8", "\\boxed{8}"
METHODS: dict[str, Callable[..., Any]] = {
    "best_of_n": best_of_n,
    "weighted_vote": weighted_vote,
    "beam_search": beam_search,
}
CRITIC = FakeCritic({SEVEN: [0.7], EIGHT: [0.4], OTHER_EIGHT: [0.5]})


async def post(fake: FakeEngine, **scaling: Any) -> dict[str, Any]:
    async with client_of(app_with(fake)) as client:
        reply = await client.post("/v1/chat/completions", json=question(test_time_scaling=scaling))
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


@pytest.mark.parametrize(
    ("method", "selected"), [("best_of_n", 0), ("weighted_vote", 2), ("self_consistency", 1)]
)
async def test_each_method_has_its_winner(method: str, selected: int):
    reply = await post(FakeEngine([SEVEN, EIGHT, OTHER_EIGHT], CRITIC), method=method, n=3)
    report = reply["test_time_scaling"]
    assert (report["method"], report["selected"]) == (method, selected)
    assert report["critic"] == (None if method == "self_consistency" else "fake-critic")


@pytest.mark.parametrize(
    ("method", "fields", "scored"),
    [
        ("best_of_n", {}, ["", SEVEN]),
        ("weighted_vote", {}, ["", SEVEN]),
        ("self_consistency", {}, []),
        ("best_of_n", {"v2pe_delta": "auto"}, ["", SEVEN]),
    ],
)
async def test_the_critic_reads_the_question_before_there_is_an_answer(
    method: str, fields: dict[str, Any], scored: list[str]
):
    """It scores an empty answer for that. This critic can't, and the request succeeds all the same."""
    critic = FakeCritic({SEVEN: [0.7]})
    async with client_of(app_with(FakeEngine([SEVEN], critic))) as client:
        scaling = {"method": method, "n": 2}
        reply = await client.post("/v1/chat/completions", json=question(test_time_scaling=scaling, **fields))
    assert reply.json()["test_time_scaling"]["degraded"] is None
    assert critic.answers == scored


async def test_none_is_a_plain_request():
    reply = await post(FakeEngine([SEVEN, EIGHT], CRITIC), method="none", n=3)
    assert "test_time_scaling" not in reply
    assert reply["choices"][0]["message"]["content"] == SEVEN


async def test_a_good_enough_score_cancels_the_other_candidates():
    """The second candidate never ends, so only cancelling it lets the request end."""
    reply = await post(FakeEngine([SEVEN, None], CRITIC), n=2, stop_score=0.7)
    report = reply["test_time_scaling"]
    assert (report["stopped"], report["selected"], len(report["candidates"])) == ("score", 0, 1)


async def test_candidates_that_are_not_needed_are_never_begun():
    """With a stop rule two candidates are begun, and the others only if these two don't decide."""
    fake = FakeEngine([SEVEN, None], CRITIC)
    report = (await post(fake, n=8, stop_score=0.7))["test_time_scaling"]
    assert (report["stopped"], fake.begun) == ("score", 2)
    fake = FakeEngine([EIGHT], CRITIC)
    report = (await post(fake, n=8, stop_score=0.7))["test_time_scaling"]
    assert (report["stopped"], fake.begun, len(report["candidates"])) == (None, 8, 8)
    fake = FakeEngine([SEVEN, None], CRITIC)
    await post(fake, n=8, stop_score=0.7, max_parallel=1)
    assert fake.begun == 1


async def test_agreement_cancels_the_other_candidates():
    fake = FakeEngine([SEVEN, SEVEN, SEVEN, SEVEN, None])
    report = (await post(fake, method="self_consistency", n=5, stop_agreement=0.95))["test_time_scaling"]
    assert (report["stopped"], len(report["candidates"])) == ("agreement", 3)


async def test_limits_return_the_best_so_far():
    report = (await post(FakeEngine([SEVEN, None], CRITIC), n=2, max_seconds=1.0))["test_time_scaling"]
    assert (report["stopped"], report["selected"], report["candidates"][0]["score"]) == ("seconds", 0, 0.7)
    report = (await post(FakeEngine([SEVEN, None], CRITIC), n=2, max_tokens_total=3))["test_time_scaling"]
    assert (report["stopped"], report["selected"], report["candidates"][0]["score"]) == ("tokens", 0, 0.7)


async def test_the_error_for_no_answer_in_time_says_what_to_change():
    async with client_of(app_with(FakeEngine([None], CRITIC))) as client:
        body = question(test_time_scaling={"n": 2, "max_seconds": 0.1})
        reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 504
    assert reply.json()["error"]["param"] == "test_time_scaling.max_seconds"


async def test_beam_search_keeps_the_best_of_n_continuations():
    reply = await post(FakeEngine([SEVEN, EIGHT, OTHER_EIGHT], CRITIC), method="beam_search", n=3)
    report = reply["test_time_scaling"]
    assert (report["method"], report["critic"], report["selected"]) == ("beam_search", "fake-critic", 0)
    assert reply["choices"][0]["message"]["content"] == SEVEN
    assert report["usage"]["policy"]["prompt"] == 21


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("stop_score", {"method": "self_consistency", "stop_score": 0.5}),
        ("abandon_losers", {"method": "self_consistency", "abandon_losers": True}),
        ("abandon_losers", {"method": "weighted_vote", "abandon_losers": True}),
        ("beam_width", {"beam_width": 2}),
        ("beam_width", {"method": "beam_search", "n": 4, "beam_width": 5}),
        ("beam_width", {"method": "beam_search", "beam_width": 0}),
        ("stop_agreement", {"method": "beam_search", "stop_agreement": 0.9}),
        ("max_parallel", {"method": "beam_search", "max_parallel": 2}),
        ("abandon_losers", {"method": "beam_search", "abandon_losers": True}),
        ("max_parallel", {"max_parallel": 0}),
        ("max_steps", {"max_steps": 0}),
    ],
)
async def test_fields_that_a_method_cannot_honour_are_refused(field: str, wrong: dict[str, Any]):
    async with client_of(app_with(FakeEngine([SEVEN], CRITIC))) as client:
        reply = await client.post("/v1/chat/completions", json=question(test_time_scaling=wrong))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == f"test_time_scaling.{field}"


@pytest.mark.parametrize("other", [{"n": 2}, {"v2pe_delta": "auto"}, {"v2pe_delta": 0.25}])
async def test_losers_are_abandoned_only_where_that_changes_no_choice(other: dict[str, Any]):
    body = question(**other, test_time_scaling={"n": 4, "abandon_losers": True})
    async with client_of(app_with(FakeEngine([SEVEN], CRITIC))) as client:
        reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "test_time_scaling.abandon_losers"


@pytest.mark.parametrize(
    ("method", "aggregation"), [("best_of_n", "mean"), ("weighted_vote", "min"), ("beam_search", "mean")]
)
async def test_the_default_aggregation_is_the_methods_own(method: str, aggregation: str):
    reply = await post(FakeEngine([SEVEN, EIGHT, OTHER_EIGHT], CRITIC), method=method, n=3)
    assert reply["test_time_scaling"]["aggregation"] == aggregation
    library = METHODS[method]
    assert inspect.signature(library).parameters["aggregation"].default == aggregation
    reply = await post(
        FakeEngine([SEVEN, EIGHT, OTHER_EIGHT], CRITIC), method=method, n=3, aggregation="last"
    )
    assert reply["test_time_scaling"]["aggregation"] == "last"


async def test_a_search_returns_at_most_its_beams():
    body = question(n=3, test_time_scaling={"method": "beam_search", "n": 8})
    async with client_of(app_with(FakeEngine([SEVEN], CRITIC))) as client:
        reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400 and "beam_width of 3" in reply.json()["error"]["message"]
