"""A plan costs what the run then pays, though it has seen no frame."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients.sdk.errors import ClientError
from clients.video_jobs.frames.errors import VideoError
from clients.video_jobs.frames.reader import read_facts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.planning.measuring import measured_facts
from clients.video_jobs.planning.plan import plan_question
from clients.video_jobs.questions import Event, VideoQuestion
from clients.video_jobs.requests.model_facts import ModelFacts
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.requests.time_tags import time_tag
from clients.video_jobs.strategies.answering import STRATEGIES, answer
from tests.clients.video_jobs.planted import SeeingModel, planted_frames, times_of, write_planted

FRAME_TOKENS, WINDOW, IMAGE = 64, 8192, 7
SETTINGS = AskSettings(num_frames=16, anchors=8, segment_seconds=40, overlap_seconds=6)


def prompt_of(body: Mapping[str, Any]) -> list[int]:
    """The token ids of a body under simple rules: a token for a character, and FRAME_TOKENS for a frame."""
    content = body["messages"][0]["content"]
    ids = [1, 2, 3, *map(ord, content[-1]["text"])]
    if len(content) > 1:
        video = body["media_io_kwargs"]["video"]
        for number, index in enumerate(video["frames_indices"]):
            ids += [*map(ord, f"Frame{number} ({time_tag(index / video['fps'])}): ")]
            ids += [IMAGE] * FRAME_TOKENS
    return ids


async def render(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The reply of /v1/chat/completions/render."""
    assert "answers" not in body
    ids = prompt_of(body)
    return {"prompt_token_ids": ids, "prompt_tokens": len(ids), "window": WINDOW}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.mp4"
    return write_planted(path, 3700, [Event(3650.0, 3660.0, "red")], rate=1)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_run_pays_what_was_planned(strategy: str, planted: Path):
    question = VideoQuestion(planted, "Is it red?", strategy=strategy)
    facts = await measured_facts(render, SETTINGS)
    settings = replace(SETTINGS, facts=facts)
    plan = await plan_question(question, await read_facts(planted), Take(side=32), settings, render)
    model = SeeingModel()
    async with planted_frames(planted, planted.parent / "cache") as frames:
        found = await answer(question, frames, model, settings)
        assert plan.taken_frames == len(frames.times)
    assert plan.strategy == found.strategy
    assert plan.reason == found.reason or strategy == "evidence"
    # The evidence is equal here, so the critic isn't asked.
    critic = 1 if strategy == "evidence" else 0
    assert plan.cost.requests == len(model.requests) + critic
    with_frames = [request for request in model.requests if request.purpose != "route"]
    frames_paid = sum(len(times_of(request)) for request in with_frames)
    tokens_paid = sum(len(prompt_of(request.body)) for request in model.requests)
    if strategy == "segments":  # the plan doesn't know the notes, nor the frames of their events
        assert 0 <= frames_paid - plan.cost.frames <= 8
        assert plan.cost.prompt_tokens <= tokens_paid <= plan.cost.prompt_tokens + plan.cost.note_tokens
        assert tokens_paid == pytest.approx(plan.cost.prompt_tokens, rel=0.01)
    else:
        assert plan.cost.frames == frames_paid + 16 * critic
        tokens = tokens_paid * (1 + critic / 3)
        assert plan.cost.prompt_tokens == pytest.approx(tokens, rel=0.01)
    assert plan.cost.delta == model.requests[-1].body["v2pe_delta"]


async def test_a_server_says_what_its_model_costs():
    facts = await measured_facts(render, SETTINGS)
    assert facts.characters_per_token == pytest.approx(1, abs=0.01)
    assert facts == ModelFacts(
        frame_tokens=FRAME_TOKENS,
        label_tokens=len("Frame0 (00:00): "),
        other_tokens=4,
        characters_per_token=facts.characters_per_token,
        window=WINDOW,
        is_measured=True,
    )


async def test_without_a_server_the_published_numbers_hold(planted: Path):
    question = VideoQuestion(planted, "Is it red?")
    plan = await plan_question(question, await read_facts(planted), Take(), AskSettings())
    assert plan.cost.requests == 1
    assert plan.cost.frames == 64
    assert plan.cost.prompt_tokens == pytest.approx(64 * 270, rel=0.01)
    assert (plan.cost.delta, plan.cost.positions) == (1.0, plan.cost.prompt_tokens)
    assert plan.taken_frames == 3700
    assert plan.decode_seconds == pytest.approx(3700 * 32 * 32 / 8e8)


async def test_many_frames_are_planned_with_a_smaller_delta(planted: Path):
    question = VideoQuestion(planted, "Is it red?")
    plan = await plan_question(question, await read_facts(planted), Take(), AskSettings(num_frames=512))
    assert plan.cost.delta == 0.125
    assert plan.cost.prompt_tokens > 130_000
    assert plan.cost.positions < 32768 - 1024


async def test_a_part_outside_the_video_is_refused(planted: Path):
    facts = await read_facts(planted)
    with pytest.raises(VideoError, match="ends at 3700 s"):
        await plan_question(VideoQuestion(planted, "?", start=4000), facts, Take(), SETTINGS)
    with pytest.raises(VideoError, match="isn't after start"):
        await plan_question(VideoQuestion(planted, "?", start=20, end=10), facts, Take(), SETTINGS)


async def test_a_server_that_cannot_count_is_an_error(planted: Path):
    async def refused(body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ClientError("no such endpoint")

    with pytest.raises(ClientError, match="no such endpoint"):
        await plan_question(VideoQuestion(planted, "?"), await read_facts(planted), Take(), SETTINGS, refused)
