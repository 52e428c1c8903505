"""A server like InternVL3-8B with VisualPRM: a policy with the real 151,674 tokens, a critic with InternLM2.

The checkpoints are tiny and random. The policy's tokenizer is the published one, and its configs name another
eos or none, as the published configs do. The critic's tokenizer is a small one of sentencepiece, and the
prompts begin with `<s>`.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from model.checkpoint.templates import DEFAULT_TEMPLATE, system_message
from tests.checkpoints import MAX_TILES, TILE, random_model
from tests.model.reference import Reference
from tests.qwen_tokenizer import added_ids, rank_encoder
from tests.server.apps import events_of
from tests.server.conftest import CRITIC_SYSTEM, bearer
from tests.server.readouts import Exam, by_head, by_transformers, farthest
from tests.server.running import RunningServer
from tests.server.test_critic_engine import ANSWERS, PHOTO, TOLERANCE
from tests.server.test_end_to_end import CHAT, image_question

pytestmark = pytest.mark.engine

TILES = 7  # Those of PHOTO with its thumbnail; each has 4 tokens.
TOKENS = added_ids("InternVL3")


@pytest.fixture
async def client(keyed_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("first")) as opened:
        yield opened


async def answer(client: httpx.AsyncClient, **extra: Any) -> dict[str, Any]:
    reply = await client.post(CHAT, json=image_question(**({"temperature": 0} | extra)))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_prompt_has_the_published_template_and_ids(client):
    reply = await answer(client, text="图中有几只猫？\n\nHow many?", return_token_ids=True, max_tokens=1)
    ids = rank_encoder("InternVL3").encode
    start = f"<|im_start|>system\n{system_message(DEFAULT_TEMPLATE)}<|im_end|>\n<|im_start|>user\n"
    end = "\n图中有几只猫？\n\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    assert reply["prompt_token_ids"] == [
        *ids(start, allowed_special="all"),
        *(151665, *[151667] * (4 * TILES), 151666),
        *ids(end, allowed_special="all"),
    ]
    assert reply["usage"]["prompt_tokens"] == len(reply["prompt_token_ids"])


async def test_a_turn_ends_at_its_published_token_and_at_no_other(client):
    def towards(token: str) -> dict[str, Any]:
        return {"logit_bias": {str(TOKENS[token]): 100}, "max_tokens": 4}

    (ended,) = (await answer(client, **towards("<|im_end|>")))["choices"]
    assert (ended["finish_reason"], ended["message"]["content"] or "") == ("stop", "")
    (other,) = (await answer(client, **towards("<tool_call>")))["choices"]
    assert (other["finish_reason"], other["message"]["content"]) == ("length", "<tool_call>" * 4)


async def test_a_stream_has_the_text_of_the_whole_answer(client):
    """The random model writes tokens of all scripts, many of which hold parts of characters."""
    (choice,) = (await answer(client, max_tokens=60))["choices"]
    pieces = await streamed(client, max_tokens=60)
    assert "".join(pieces) == choice["message"]["content"] and len(pieces) > 10


async def streamed(client: httpx.AsyncClient, **extra: Any) -> list[str]:
    """Return the pieces of a streamed answer."""
    body = image_question(temperature=0, stream=True, **extra)
    _, chunks = events_of((await client.post(CHAT, json=body)).text)
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]


async def test_step_scores_agree_with_transformers(client, internlm2_critic):
    tokenizer = checkpoint_tokenizer(internlm2_critic)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=False, seed=6, language="internlm2")
    exam = Exam(text="What is the sum of row 1?", image=PHOTO, delta=0.25, answers=ANSWERS)
    head = await by_head(client, exam)
    expected = by_transformers(exam, Reference(model, internlm2_critic, TILE, MAX_TILES), CRITIC_SYSTEM)
    assert farthest(head, expected) < TOLERANCE
    assert len({score for steps in head for score in steps}) > 5, "different steps have different scores"


async def test_the_critic_chooses_among_answers_of_another_vocabulary(client):
    reply = await answer(client, max_tokens=8, seed=3, test_time_scaling={"n": 3}, temperature=1)
    report = reply["test_time_scaling"]
    scores = {candidate["index"]: candidate["score"] for candidate in report["candidates"]}
    assert report["degraded"] is None and scores[report["selected"]] == max(scores.values())
