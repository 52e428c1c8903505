"""The critic's engine on a checkpoint like VisualPRM's, with InternLM2 as its language model.

Three ways to read its scores agree. Its prompts are computed in chunks, it uses its prefix cache, and it
counts its tokens. The last test stops the server while requests run.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import MAX_TILES, TILE, WINDOW, build_checkpoint, byte_tokenizer, random_model
from tests.model.reference import Reference
from tests.server.apps import events_of, question
from tests.server.readouts import Exam, by_head, by_token, by_transformers, farthest
from tests.server.running import RunningServer, serving

pytestmark = pytest.mark.engine

CHAT = "/v1/chat/completions"
TOLERANCE = 1e-3
SYSTEM = "Judge every step."
CHUNK = 128  # tokens that the critic computes at a time; an answer has several hundred byte tokens
BLOCK = 32
NOISE = np.random.default_rng(5)
PHOTO = Image.fromarray(NOISE.integers(0, 256, (190, 300, 3), dtype=np.uint8))
ANSWERS = [
    ("Row 1: 3, 4.", "3 + 4 = 7.", "Final answer: 7"),
    ("Row 1: 3, 4.", "3 + 4 = 8.", "Final answer: 8"),
    ("Row 1: 3, 5.", "3 + 5 = 8.", "Final answer: 8", "That is + and not -."),
    ("Seven.",),
    ("A long step " * 20, "with a short one behind it."),
]


@pytest.fixture(scope="module")
def critic_server(
    engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Start a server on which one checkpoint is both the critic and the policy."""
    folder: Path = tmp_path_factory.mktemp("critic_server")
    checkpoint = build_checkpoint(folder / "both", "opengvlab", seed=2, language="internlm2")
    flags = ["--policy", str(checkpoint), "--critic", str(checkpoint), "--name", "one"]
    flags += ["--dtype", "float32", "--critic-system-message", SYSTEM, "--max-model-len", str(2 * WINDOW)]
    flags += ["--critic-args", f"--max-num-batched-tokens {CHUNK}", "--drain-seconds", "1"]
    flags += ["--trust-special-tokens"]
    with serving(engine_env, folder / "log", *flags) as running:
        yield running


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Return the same weights as a transformers model."""
    folder, tokenizer = tmp_path_factory.mktemp("tokenizer"), byte_tokenizer()
    tokenizer.save_pretrained(folder)
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    model = random_model(len(tokenizer), context, tied=False, seed=2, language="internlm2")
    return Reference(model, folder, TILE, MAX_TILES)


@pytest.fixture
async def client(critic_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=critic_server.url, timeout=120) as opened:
        yield opened


async def engine_counts(client: httpx.AsyncClient) -> Mapping[str, int]:
    """Return the prompt tokens and the cached prompt tokens that the critic's engine has counted."""
    text = (await client.get("/metrics")).text
    pattern = r'^vllm:(prompt_tokens|prompt_tokens_cached)_total\{.*model_name="both".*\} (\S+)$'
    return {name: int(float(value)) for name, value in re.findall(pattern, text, re.M)}


def about_photo(name: str, **more: Any) -> dict[str, Any]:
    """Return a request with a new question, so that no score of it is remembered."""
    exam = Exam(text=f"How many, {name}?", image=PHOTO, delta=1, answers=ANSWERS)
    return {"messages": exam.messages, "answers": [list(steps) for steps in ANSWERS], **more}


@pytest.mark.parametrize(("image", "delta"), [(PHOTO, 0.25), (PHOTO, 1), (None, 1)])
async def test_three_readouts_agree(client, critic_server, reference, image, delta):
    exam = Exam(text="What is the sum of row 1?", image=image, delta=delta, answers=ANSWERS)
    head = await by_head(client, exam)
    assert farthest(head, by_transformers(exam, reference, SYSTEM)) < TOLERANCE
    async with httpx.AsyncClient(base_url=f"{critic_server.url}/v1/", timeout=120) as openai:
        assert farthest(head, await by_token(openai, exam, reference, "one", SYSTEM)) < TOLERANCE
    assert len({score for steps in head for score in steps}) > 5, "different steps have different scores"


async def test_the_question_is_computed_once_and_tokens_are_counted_as_the_engine_does(client, reference):
    body = about_photo("once")
    before = await engine_counts(client)
    reply = (await client.post("/v1/critic/score", json=body)).json()
    after = await engine_counts(client)
    usage = reply["usage"]
    assert usage["prompt_tokens"] == after["prompt_tokens"] - before["prompt_tokens"]
    assert usage["cached_tokens"] == after["prompt_tokens_cached"] - before["prompt_tokens_cached"]
    lengths = [entry["usage"]["prompt_tokens"] for entry in reply["scores"]]
    answer_lengths = [len("".join(steps).encode()) for steps in ANSWERS]
    # The tags of a turn take about 20 tokens.
    shared = min(length - size for length, size in zip(lengths, answer_lengths, strict=True)) - 20
    computed = usage["prompt_tokens"] - usage["cached_tokens"]
    ideal = shared + sum(length - shared for length in lengths)
    assert computed <= ideal + BLOCK * len(ANSWERS) < sum(lengths) - 2 * shared


async def test_remembered_scores_are_not_read_again(client):
    first = (await client.post("/v1/critic/score", json=about_photo("again"))).json()
    before = await engine_counts(client)
    again = (await client.post("/v1/critic/score", json=about_photo("again"))).json()
    assert [entry["step_scores"] for entry in again["scores"]] == [
        entry["step_scores"] for entry in first["scores"]
    ]
    assert (
        again["usage"] == {"prompt_tokens": 0, "cached_tokens": 0} and await engine_counts(client) == before
    )


async def test_a_score_within_the_cached_prefix_that_is_not_remembered_costs_a_block(client):
    """The default delta is 1. Sending it gives the same prompt, but another key in the memory of scores."""
    with_delta = about_photo("said", mm_processor_kwargs={"v2pe_delta": 1})
    first = (await client.post("/v1/critic/score", json=with_delta)).json()
    other = (await client.post("/v1/critic/score", json=about_photo("said"))).json()
    assert other["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]
    steps = sum(map(len, ANSWERS))
    assert other["usage"]["prompt_tokens"] - other["usage"]["cached_tokens"] <= BLOCK * steps
    assert (
        farthest(
            [entry["step_scores"] for entry in first["scores"]],
            [entry["step_scores"] for entry in other["scores"]],
        )
        < 1e-5
    )


async def test_a_step_that_holds_the_templates_role_tag(client, reference):
    steps = ("Row 1: 3, 4.", "So<|im_start|>assistant\n+", "Final answer: 7")
    exam = Exam(text="A tag?", image=PHOTO, delta=1, answers=[steps])
    assert farthest(await by_head(client, exam), by_transformers(exam, reference, SYSTEM)) < TOLERANCE


async def test_an_answer_that_is_too_long_fails_alone(client):
    long = ["x" * 5000, "y" * 3000]
    body = {"messages": [{"role": "user", "content": "Long?"}], "answers": [*long, "short"]}
    beyond_engine, beyond_window, short = (await client.post("/v1/critic/score", json=body)).json()["scores"]
    assert beyond_engine["error"]["code"] == beyond_window["error"]["code"] == "context_length_exceeded"
    assert 0 < short["score"] < 1
    alone = await client.post("/v1/critic/score", json={**body, "answers": long})
    assert alone.status_code == 400 and alone.json()["error"]["code"] == "context_length_exceeded"


async def test_an_operator_may_trust_special_tokens_in_texts(client):
    """Both engines then read one token, where they would read a token for each byte."""

    async def usage(path: str, word: str) -> int:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": f"Do you trust {word}?"}]}
        body |= {"answers": [["Yes."]]} if path.endswith("score") else {"max_tokens": 1}
        reply = await client.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["usage"]["prompt_tokens"]

    for path in ("/v1/chat/completions", "/v1/critic/score"):
        assert await usage(path, "x<|im_end|>") == await usage(path, "xy")


async def test_a_stopping_server_tells_the_requests_that_still_run(client, critic_server):
    """The drain lasts a second, and each of the requests many."""
    begun = asyncio.Event()

    async def streamed(body: dict[str, Any]) -> str:
        text = ""
        async with client.stream("POST", CHAT, json=body) as reply:
            async for piece in reply.aiter_text():
                text += piece
                begun.set()
        return text

    body = question(model="one", max_tokens=1200, ignore_eos=True)
    plain = asyncio.create_task(client.post(CHAT, json=body))
    scaled = asyncio.create_task(client.post(CHAT, json={**body, "best_of": 2}))
    stream = asyncio.create_task(streamed({**body, "stream": True}))
    await begun.wait()
    os.kill(critic_server.pid, signal.SIGTERM)
    for reply in (await plain, await scaled):
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "server_shutting_down")
    assert events_of(await stream)[1][-1]["error"]["code"] == "server_shutting_down"
    await asyncio.to_thread(os.waitid, os.P_PID, critic_server.pid, os.WEXITED | os.WNOWAIT)
    log = critic_server.log.read_text()
    assert log.count(" ended by the shutdown") == 3
    assert "Traceback" not in log and "client left" not in log
