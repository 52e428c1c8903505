"""The server answers what the strategies for long videos ask, and finds the frames in its cache again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.sdk.errors import api_error
from clients.video_jobs.frames.reader import read_facts
from clients.video_jobs.frames.take import Take
from clients.video_jobs.planning.measuring import measured_facts
from clients.video_jobs.planning.plan import plan_question
from clients.video_jobs.questions import Event, PaidRequest, VideoQuestion
from clients.video_jobs.requests.settings import AskSettings
from clients.video_jobs.strategies.answering import STRATEGIES, answer
from clients.video_jobs.strategies.replies import yes_probability
from tests.clients.video_jobs.planted import planted_frames, write_planted

pytestmark = pytest.mark.engine

SETTINGS = AskSettings(
    num_frames=12,
    anchors=6,
    max_tokens=64,
    segment_seconds=10,
    overlap_seconds=2,
    fields={"temperature": 0},
)

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@dataclass
class Posting:
    """An Asker that posts every request, and keeps the replies by purpose."""

    client: httpx.AsyncClient
    replies: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def __call__(self, request: PaidRequest) -> Mapping[str, Any]:
        response = await self.client.post(f"/{request.path}", json=dict(request.body))
        if response.status_code != 200:
            raise api_error(response.status_code, response.content)
        self.replies[request.purpose] = response.json()
        return self.replies[request.purpose]

    async def render(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        response = await self.client.post("/v1/chat/completions/render", json=dict(body))
        if response.status_code != 200:
            raise api_error(response.status_code, response.content)
        reply: Mapping[str, Any] = response.json()
        return reply


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("video") / "clip.mp4", 30, [Event(14.0, 17.0, "red")])


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_strategy_pays_what_its_plan_says(strategy: str, planted: Path, client: httpx.AsyncClient):
    """The policy is random, so only the form of its answers counts."""
    posting = Posting(client)
    facts = await measured_facts(posting.render, SETTINGS)
    settings = replace(SETTINGS, facts=facts)
    question = VideoQuestion(planted, "Which colour is shown?", SCHEMA, strategy=strategy)
    plan = await plan_question(
        question, await read_facts(planted), Take(side=facts.side), settings, posting.render
    )
    async with planted_frames(planted, planted.parent / "cache") as frames:
        found = await answer(question, frames, posting, settings)
    assert json.loads(found.answer)["colour"] in ("red", "blue")
    assert plan.cost.delta == found.delta
    if strategy == "window":
        assert found.usage["prompt_tokens"] == plan.cost.prompt_tokens
        assert len(found.frames) == 12
    if strategy == "segments":
        noted = [reply for purpose, reply in posting.replies.items() if purpose.startswith("segment")]
        assert len(noted) == plan.cost.requests - 1
        paid = sum(reply["usage"]["prompt_tokens"] for reply in posting.replies.values())
        assert plan.cost.prompt_tokens <= paid <= plan.cost.prompt_tokens + plan.cost.note_tokens
    if strategy == "search":
        scores = [reply for purpose, reply in posting.replies.items() if purpose.startswith("score")]
        assert len(scores) in (0, plan.cost.requests - 2)
        assert all(0 < (yes_probability(reply) or 0.5) < 1 for reply in scores)
    if strategy == "evidence":
        assert found.evidence["scores"] is None or len(found.evidence["scores"]) == 3


async def test_all_questions_on_a_video_share_its_frames(planted: Path, client: httpx.AsyncClient):
    posting = Posting(client)
    async with planted_frames(planted, planted.parent / "cache") as frames:
        for number, words in enumerate(
            ["Which colour is shown?", "How many colours are shown in all of it?"]
        ):
            question = VideoQuestion(planted, words, SCHEMA)
            found = await answer(question, frames, posting, SETTINGS)
            usage = posting.replies["answer"]["usage"]
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            assert found.delta is not None
            if number:
                assert cached > usage["prompt_tokens"] / 2
