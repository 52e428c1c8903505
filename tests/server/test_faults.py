"""A server whose engines hang, fail and die: the replies to its clients, and the requests that stay running.

All tests share one server, so their order matters: the first one meets it cold, then come temporary faults,
then permanent ones. The critic can't score a question with SPOILED in it, because this token's embedding is
NaN. Every test asks a new question, because the critic remembers the scores of old ones.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file

from tests.checkpoints import WINDOW, build_checkpoint, byte_tokenizer, save_weights
from tests.otlp_receiver import Receiver, attributes, receiving
from tests.server.apps import events_of, question
from tests.server.mixed_load import faults_of_mixed_load
from tests.server.running import RunningServer, serving

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
SCORE = "/v1/critic/score"
SPOILED = "~"  # a byte; as clients' text, a special token would be several of them
CRITIC_SECONDS = 5
STALL_SECONDS = 2


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


@pytest.fixture(scope="module")
def faulty(
    engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("faulty")
    policy = build_checkpoint(folder / "policy", "opengvlab", seed=0)
    critic = build_checkpoint(folder / "critic", "opengvlab", seed=1)
    weights = load_file(critic / "model.safetensors")
    token = byte_tokenizer().convert_tokens_to_ids(SPOILED)
    weights["language_model.model.embed_tokens.weight"][token] = float("nan")
    save_weights(critic, weights)
    flags = ["--policy", str(policy), "--critic", str(critic), "--name", "nano", "--dtype", "float32"]
    flags += ["--max-model-len", str(WINDOW), "--critic-seconds", str(CRITIC_SECONDS), "--cut-max-tokens"]
    flags += ["--stall-seconds", str(STALL_SECONDS), "--otlp-endpoint", receiver.url]
    with serving(engine_env, folder / "log", *flags) as running:
        yield running


@pytest.fixture
async def faulty_client(faulty: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client. After the test, wait until no request is left in the living engines."""
    async with httpx.AsyncClient(base_url=faulty.url, timeout=300) as client:
        yield client
        await idle(client)


@contextmanager
def paused(server: RunningServer, engine: str) -> Iterator[None]:
    """Pause the engine's process inside the `with` block."""
    process = process_of(server, engine)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def process_of(server: RunningServer, engine: str) -> int:
    match = re.search(rf"{engine} runs in process (\d+)", server.log.read_text())
    assert match is not None
    return int(match[1])


async def idle(client: httpx.AsyncClient) -> None:
    """Wait until no request runs or waits in any living engine."""
    async with asyncio.timeout(120):
        while any(await gauges(client)):
            await asyncio.sleep(0.05)


async def gauges(client: httpx.AsyncClient) -> list[float]:
    text = (await client.get("/metrics")).text
    dead = set(re.findall(r'^internvl3_engine_up\{engine="(\w+)"\} 0\.0$', text, re.M))
    matches = re.findall(
        r'^vllm:num_requests_(?:running|waiting)\{.*model_name="(\w+)".*\} (\S+)$', text, re.M
    )
    return [float(value) for name, value in matches if name not in dead]


async def tokens_of_critic(client: httpx.AsyncClient) -> int:
    """Return the prompt tokens that the critic's engine has read, by its own count."""
    text = (await client.get("/metrics")).text
    found = re.search(r'^vllm:prompt_tokens_total\{.*model_name="critic"\} (\S+)$', text, re.M)
    assert found is not None
    return int(float(found[1]))


def scaled_question(
    text: str, *, max_tokens: int = 8, stream: bool = False, **scaling: Any
) -> dict[str, Any]:
    return question(
        messages=[{"role": "user", "content": text}],
        max_tokens=max_tokens,
        ignore_eos=True,
        seed=3,
        stream=stream,
        test_time_scaling={"n": 3, **scaling},
    )


def score_request(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "answers": ["One.\n\nTwo."]}


async def answer(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Return the `test_time_scaling` report of a complete reply."""
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    completion: dict[str, Any] = reply.json()
    assert completion["choices"][0]["finish_reason"] in ("stop", "length")
    report: dict[str, Any] = completion["test_time_scaling"]
    return report


async def assert_sound(client: httpx.AsyncClient, after: str) -> None:
    """Check that the next request works and that both engines are up."""
    report = await answer(client, scaled_question(f"All well after {after}?"))
    assert report["degraded"] is None and report["stopped"] is None
    assert all(candidate["score"] is not None for candidate in report["candidates"])
    assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_a_cold_start_under_load(faulty_client, faulty):
    """The first second after the start once gave an internal error within a stream."""
    assert await faults_of_mixed_load(faulty_client, seed=0) == []
    await idle(faulty_client)
    assert "internal error" not in faulty.log.read_text()
    await assert_sound(faulty_client, "its first second")


async def test_traces_of_a_selection(faulty_client, receiver):
    headers = {"X-Request-Id": "traced"}
    reply = await faulty_client.post(CHAT, json=scaled_question("Who is traced?"), headers=headers)
    assert reply.status_code == 200
    while not (
        requests := [
            span
            for span in receiver.named(f"POST {CHAT}")
            if attributes(span)["internvl3.request_id"] == "traced"
        ]
    ):
        await asyncio.sleep(0.1)
    (request,) = requests
    spans = [span for span in receiver.spans if span.trace_id == request.trace_id]
    candidates = {span.span_id for span in spans if span.name == "candidate"}
    for name, count, parents in (
        ("render", 1, {request.span_id}),
        ("candidate", 3, {request.span_id}),
        ("prefill", 3, candidates),
        ("generate", 3, candidates),
    ):
        named = [span for span in spans if span.name == name]
        assert len(named) == count and {span.parent_span_id for span in named} == parents
    # The critic also reads the question ahead.
    assert len([span for span in spans if span.name == "score"]) == 3 + 1


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_more_tokens_than_are_left_are_cut_down_to_them(faulty_client, limit: str):
    """Without --cut-max-tokens such a request is refused."""
    messages = [{"role": "user", "content": "a" * (WINDOW // 2)}]
    body = {"model": "nano", "messages": messages, "ignore_eos": True, limit: 32_768}
    reply = await faulty_client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    plain = reply.json()
    left = WINDOW - plain["usage"]["prompt_tokens"]
    assert 0 < left < WINDOW // 2 and plain["usage"]["completion_tokens"] == left
    assert plain["choices"][0]["finish_reason"] == "length"
    options = {"stream": True, "stream_options": {"include_usage": True}}
    _, chunks = events_of((await faulty_client.post(CHAT, json={**body, **options})).text)
    assert chunks[-1]["usage"]["completion_tokens"] == left
    scaled = (await faulty_client.post(CHAT, json={**body, "best_of": 2})).json()
    candidates = scaled["test_time_scaling"]["candidates"]
    assert [candidate["completion_tokens"] for candidate in candidates] == [left, left]


async def test_at_the_time_cap_the_best_so_far_comes_back_while_the_critic_hangs(faulty_client, faulty):
    with paused(faulty, "critic"):
        report = await answer(faulty_client, scaled_question("How long?", max_seconds=2.0))
        assert report["stopped"] == "seconds" and "no candidate has a score" in report["degraded"]
        assert [candidate["score"] for candidate in report["candidates"]] == [None] * 3
        strict = scaled_question("How long, strictly?", max_seconds=2.0, on_critic_error="fail")
        assert (await faulty_client.post(CHAT, json=strict)).status_code == 503
    await idle(faulty_client)
    await assert_sound(faulty_client, "the time cap")


async def test_at_the_time_cap_nothing_comes_back_if_the_policy_hangs(faulty_client, faulty):
    with paused(faulty, "policy"):
        reply = await faulty_client.post(CHAT, json=scaled_question("Who writes?", max_seconds=1.0))
        assert reply.status_code == 504
        assert reply.json()["error"]["param"] == "test_time_scaling.max_seconds"
    await idle(faulty_client)
    await assert_sound(faulty_client, "a policy that hung")


async def test_a_policy_that_hangs_fails_livez(faulty_client, faulty):
    with paused(faulty, "policy"):
        request = asyncio.create_task(faulty_client.post(CHAT, json=question(max_tokens=4)))
        while (live := await faulty_client.get("/livez")).status_code == 200:
            await asyncio.sleep(0.1)
        for reply in (live, await faulty_client.get("/readyz")):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_stalled")
    assert (await request).status_code == 200
    assert (await faulty_client.get("/livez")).status_code == 200
    await idle(faulty_client)
    await assert_sound(faulty_client, "a policy that hung for long")
    assert "the policy has made no step for" in faulty.log.read_text()
    while "the policy makes steps again" not in faulty.log.read_text():
        await asyncio.sleep(0.1)


def test_the_log_tells_how_far_the_start_was(faulty):
    log = faulty.log.read_text()
    for title in ("policy", "critic"):
        assert f"start of the {title}: starting" in log and f"start of the {title}: warming" in log


async def test_a_critic_that_hangs_counts_as_failed(faulty_client, faulty):
    with paused(faulty, "critic"):
        before = await tokens_of_critic(faulty_client)
        report = await answer(faulty_client, scaled_question("Who hangs?", on_critic_error="first"))
        assert report["selected"] == 0 and f"{CRITIC_SECONDS} seconds" in report["degraded"]
        assert report["usage"]["critic"]["prompt"] == await tokens_of_critic(faulty_client) - before == 0
        refused = await faulty_client.post(
            CHAT, json=scaled_question("Who hangs again?", on_critic_error="fail")
        )
        assert refused.status_code == 503 and "critic" in refused.json()["error"]["message"]
    await idle(faulty_client)
    await assert_sound(faulty_client, "a critic that hung")


async def test_a_client_leaves_while_the_critic_hangs(faulty_client, faulty):
    with paused(faulty, "critic"):
        async with faulty_client.stream(
            "POST", CHAT, json=scaled_question("Who leaves?", stream=True)
        ) as reply:
            async for line in reply.aiter_lines():
                if "3/3 finished" in line:
                    break
    await idle(faulty_client)
    await assert_sound(faulty_client, "a client that left")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_critic_that_returns_nan_counts_as_failed(faulty_client, stream: bool):
    """The reply says what the critic has read, although it brought no score."""
    before = await tokens_of_critic(faulty_client)
    reply = await faulty_client.post(CHAT, json=scaled_question(f"How many {SPOILED}?", stream=stream))
    report = (events_of(reply.text)[1][-1] if stream else reply.json())["test_time_scaling"]
    assert "no candidate has a score" in report["degraded"]
    assert [candidate["score"] for candidate in report["candidates"]] == [None] * 3
    assert report["usage"]["critic"]["prompt"] == await tokens_of_critic(faulty_client) - before > 0
    refused = await faulty_client.post(
        CHAT, json=scaled_question(f"How many {SPOILED}?", on_critic_error="fail")
    )
    assert refused.status_code == 503
    unscored = await faulty_client.post(SCORE, json=score_request(f"How many {SPOILED}?"))
    assert (unscored.status_code, unscored.json()["error"]["code"]) == (503, "critic_failed")
    await assert_sound(faulty_client, f"nonsense{', streamed' * stream}")


async def test_at_the_token_cap_the_other_candidates_are_cancelled(faulty_client):
    report = await answer(faulty_client, scaled_question("How much?", max_tokens=1500, max_tokens_total=64))
    assert report["stopped"] == "tokens"
    assert 64 <= report["usage"]["policy"]["completion"] < 1500


async def test_a_critic_killed_while_it_scores(faulty_client, faulty):
    """The critic is stopped first, so that it dies while it scores."""
    os.kill(process_of(faulty, "critic"), signal.SIGSTOP)
    text, killed = "", False
    async with faulty_client.stream("POST", CHAT, json=scaled_question("Who dies?", stream=True)) as reply:
        async for piece in reply.aiter_text():
            text += piece
            if "3/3 finished" in text and not killed:
                os.kill(process_of(faulty, "critic"), signal.SIGKILL)
                killed = True
    _, chunks = events_of(text)
    assert "no candidate has a score" in chunks[-1]["test_time_scaling"]["degraded"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def test_without_its_critic_the_server_goes_on(faulty, faulty_client):
    assert (await faulty_client.get("/livez")).status_code == 200
    ready = await faulty_client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "degraded", "critic": "stopped"})
    assert 'internvl3_engine_up{engine="critic"} 0.0' in (await faulty_client.get("/metrics")).text
    plain = await faulty_client.post(CHAT, json=question(max_tokens=4))
    assert plain.status_code == 200 and 1 <= plain.json()["usage"]["completion_tokens"] <= 4
    vote = await answer(faulty_client, scaled_question("What do most say?", method="self_consistency"))
    assert vote["degraded"] is None
    first = await answer(faulty_client, scaled_question("Who is first?", on_critic_error="first"))
    assert first["selected"] == 0 and first["degraded"] is not None
    assert (await answer(faulty_client, scaled_question("Who judges?")))["degraded"] is not None
    for stream in (False, True):
        strict = scaled_question("Who judges strictly?", on_critic_error="fail", stream=stream)
        refusal = (await faulty_client.post(CHAT, json=strict)).text
        assert "The critic failed" in refusal and "Retry" not in refusal, "retrying can't help"
    assert faulty.log.read_text().count("the process of the critic has ended") == 1
    unscored = await faulty_client.post(SCORE, json=score_request("Who judges?"))
    assert (unscored.status_code, unscored.json()["error"]["code"]) == (503, "engine_stopped")


async def test_a_policy_that_was_killed_ends_its_requests_and_asks_for_a_restart(faulty):
    async with httpx.AsyncClient(base_url=faulty.url, timeout=300) as client:
        body = scaled_question("Who is left?", max_tokens=1500, method="self_consistency")
        running = asyncio.create_task(client.post(CHAT, json=body))
        while not any(await gauges(client)):
            await asyncio.sleep(0.02)
        os.kill(process_of(faulty, "policy"), signal.SIGKILL)
        ended = await running
        for reply in (ended, *[await client.get(path) for path in ("/readyz", "/livez")]):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_stopped")
        assert (await client.post(CHAT, json=question())).status_code == 503
