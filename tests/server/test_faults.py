"""A server whose engines stop, spoil and die under it: what its clients are told, and what is left running.

One server for all of them, so the order counts: first what passes, last what stays. The critic can't judge a
question with SPOILED in it: there its numbers are NaN. Every question is a new one, since the scores of an
old one are remembered.
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
from tests.server.apps import events_of, question
from tests.server.running import RunningServer, serving

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
JUDGE = "/v1/critic/score"
SPOILED = "<|endoftext|>"
CRITIC_SECONDS = 5


@pytest.fixture(scope="module")
def faulty(engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("faulty")
    policy = build_checkpoint(folder / "policy", "opengvlab", seed=0)
    critic = build_checkpoint(folder / "critic", "opengvlab", seed=1)
    weights = load_file(critic / "model.safetensors")
    token = byte_tokenizer().convert_tokens_to_ids(SPOILED)
    weights["language_model.model.embed_tokens.weight"][token] = float("nan")
    save_weights(critic, weights)
    flags = ["--policy", str(policy), "--critic", str(critic), "--name", "nano", "--dtype", "float32"]
    flags += ["--max-model-len", str(WINDOW), "--critic-seconds", str(CRITIC_SECONDS)]
    with serving(engine_env, folder / "log", *flags) as running:
        yield running


@pytest.fixture
async def asking(faulty: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client; whatever its test did, no request is left in the engines that live."""
    async with httpx.AsyncClient(base_url=faulty.url, timeout=300) as client:
        yield client
        await idle(client)


@contextmanager
def stopped(server: RunningServer, engine: str) -> Iterator[None]:
    """The engine's process does nothing meanwhile, and doesn't end either."""
    process = process_of(server, engine)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def process_of(server: RunningServer, engine: str) -> int:
    found = re.search(rf"{engine} runs in process (\d+)", server.log.read_text())
    assert found is not None
    return int(found[1])


async def idle(client: httpx.AsyncClient) -> None:
    """Waits until no request runs or waits in any living engine."""
    async with asyncio.timeout(120):
        while any(await gauges(client)):
            await asyncio.sleep(0.05)


async def gauges(client: httpx.AsyncClient) -> list[float]:
    text = (await client.get("/metrics")).text
    dead = set(re.findall(r'^internvl3_engine_up\{engine="(\w+)"\} 0\.0$', text, re.M))
    found = re.findall(r'^vllm:num_requests_(?:running|waiting)\{.*model_name="(\w+)".*\} (\S+)$', text, re.M)
    return [float(value) for name, value in found if name not in dead]


def asked(text: str, *, max_tokens: int = 8, stream: bool = False, **scaling: Any) -> dict[str, Any]:
    return question(
        messages=[{"role": "user", "content": text}],
        max_tokens=max_tokens,
        ignore_eos=True,
        seed=3,
        stream=stream,
        test_time_scaling={"n": 3, **scaling},
    )


def judging(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "answers": ["One.\n\nTwo."]}


async def answer(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The reply's account of a choice; the reply is complete."""
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    assert told["choices"][0]["finish_reason"] in ("stop", "length")
    account: dict[str, Any] = told["test_time_scaling"]
    return account


async def assert_sound(client: httpx.AsyncClient, after: str) -> None:
    """Nothing is left of what was before."""
    account = await answer(client, asked(f"All well after {after}?"))
    assert account["degraded"] is None and account["stopped"] is None
    assert all(candidate["score"] is not None for candidate in account["candidates"])
    assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_at_the_time_cap_the_best_so_far_comes_back_while_the_critic_hangs(asking, faulty):
    with stopped(faulty, "critic"):
        account = await answer(asking, asked("How long?", max_seconds=2.0))
        assert account["stopped"] == "seconds" and "no candidate has a score" in account["degraded"]
        assert [candidate["score"] for candidate in account["candidates"]] == [None] * 3
        strict = asked("How long, strictly?", max_seconds=2.0, on_critic_error="fail")
        assert (await asking.post(CHAT, json=strict)).status_code == 503
    await idle(asking)
    await assert_sound(asking, "the time cap")


async def test_at_the_time_cap_nothing_comes_back_if_the_policy_hangs(asking, faulty):
    with stopped(faulty, "policy"):
        reply = await asking.post(CHAT, json=asked("Who writes?", max_seconds=1.0))
        assert reply.status_code == 504
        assert reply.json()["error"]["param"] == "test_time_scaling.max_seconds"
    await idle(asking)
    await assert_sound(asking, "a policy that hung")


async def test_a_critic_that_hangs_counts_as_failed(asking, faulty):
    with stopped(faulty, "critic"):
        account = await answer(asking, asked("Who hangs?", on_critic_error="first"))
        assert account["selected"] == 0 and f"{CRITIC_SECONDS} seconds" in account["degraded"]
        refused = await asking.post(CHAT, json=asked("Who hangs again?", on_critic_error="fail"))
        assert refused.status_code == 503 and "critic" in refused.json()["error"]["message"]
    await idle(asking)
    await assert_sound(asking, "a critic that hung")


async def test_a_client_leaves_while_the_critic_hangs(asking, faulty):
    with stopped(faulty, "critic"):
        async with asking.stream("POST", CHAT, json=asked("Who leaves?", stream=True)) as reply:
            async for line in reply.aiter_lines():
                if "3/3 finished" in line:
                    break
    await idle(asking)
    await assert_sound(asking, "a client that left")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_critic_that_tells_nonsense_has_told_nothing(asking, stream: bool):
    reply = await asking.post(CHAT, json=asked(f"How many {SPOILED}?", stream=stream))
    account = (events_of(reply.text)[1][-1] if stream else reply.json())["test_time_scaling"]
    assert "no candidate has a score" in account["degraded"]
    assert [candidate["score"] for candidate in account["candidates"]] == [None] * 3
    refused = await asking.post(CHAT, json=asked(f"How many {SPOILED}?", on_critic_error="fail"))
    assert refused.status_code == 503
    unscored = await asking.post(JUDGE, json=judging(f"How many {SPOILED}?"))
    assert (unscored.status_code, unscored.json()["error"]["code"]) == (503, "critic_failed")
    await assert_sound(asking, f"nonsense{', streamed' * stream}")


async def test_at_the_token_cap_the_rest_is_cancelled(asking):
    account = await answer(asking, asked("How much?", max_tokens=1500, max_tokens_total=64))
    assert account["stopped"] == "tokens"
    assert 64 <= account["usage"]["policy"]["completion"] < 1500


async def test_a_critic_killed_while_it_judges(asking, faulty):
    """Stopped first, so that it is in the middle of it."""
    os.kill(process_of(faulty, "critic"), signal.SIGSTOP)
    text, killed = "", False
    async with asking.stream("POST", CHAT, json=asked("Who dies?", stream=True)) as reply:
        async for piece in reply.aiter_text():
            text += piece
            if "3/3 finished" in text and not killed:
                os.kill(process_of(faulty, "critic"), signal.SIGKILL)
                killed = True
    _, chunks = events_of(text)
    assert "no candidate has a score" in chunks[-1]["test_time_scaling"]["degraded"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def test_without_its_critic_the_server_goes_on(asking):
    assert (await asking.get("/livez")).status_code == 200
    ready = await asking.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "degraded", "critic": "stopped"})
    assert 'internvl3_engine_up{engine="critic"} 0.0' in (await asking.get("/metrics")).text
    plain = await asking.post(CHAT, json=question(max_tokens=4))
    assert plain.status_code == 200 and 1 <= plain.json()["usage"]["completion_tokens"] <= 4
    vote = await answer(asking, asked("What do most say?", method="self_consistency"))
    assert vote["degraded"] is None
    first = await answer(asking, asked("Who is first?", on_critic_error="first"))
    assert first["selected"] == 0 and first["degraded"] is not None
    assert (await answer(asking, asked("Who judges?")))["degraded"] is not None
    for stream in (False, True):
        strict = asked("Who judges strictly?", on_critic_error="fail", stream=stream)
        assert "The critic failed" in (await asking.post(CHAT, json=strict)).text
    unscored = await asking.post(JUDGE, json=judging("Who judges?"))
    assert (unscored.status_code, unscored.json()["error"]["code"]) == (503, "engine_stopped")


async def test_a_policy_that_was_killed_ends_its_requests_and_asks_for_a_restart(faulty):
    async with httpx.AsyncClient(base_url=faulty.url, timeout=300) as client:
        body = asked("Who is left?", max_tokens=1500, method="self_consistency")
        running = asyncio.create_task(client.post(CHAT, json=body))
        while not any(await gauges(client)):
            await asyncio.sleep(0.02)
        os.kill(process_of(faulty, "policy"), signal.SIGKILL)
        ended = await running
        for reply in (ended, *[await client.get(path) for path in ("/readyz", "/livez")]):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_stopped")
        assert (await client.post(CHAT, json=question())).status_code == 503
