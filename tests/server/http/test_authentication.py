"""API keys at the door: who gets in, on which paths, and how often."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from server.access.key_file import digest_of
from tests.server.apps import app_with, client_of, events_of, listening, question
from tests.server.fakes import FakeCritic, FakeEngine

CHAT = "/v1/chat/completions"
ANSWER = {"Authorization": "Bearer key of a"}
HOSTILE = {"Authorization": "Bearer " + "x" * 10_000}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[keys.a]\nsha256 = "{digest_of("key of a")}"\nmax_best_of = 2\n'
        f'[keys.slow]\nsha256 = "{digest_of("key of slow")}"\nrequests_per_minute = 1\n'
        f'[keys.one]\nsha256 = "{digest_of("key of one")}"\nconcurrent_requests = 1\n'
    )
    return path


def bearer(name: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer key of {name}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "key of a"},
        {"Authorization": "Basic a2V5"},
        {"Authorization": "Bearer"},
        HOSTILE,
    ],
    ids=["none", "no scheme", "basic", "empty", "long"],
)
@pytest.mark.parametrize(
    "path",
    [CHAT, "/v1/models", "/metrics", "/version", "/nothing", "/readyz/", "//readyz", "/livez/../metrics"],
)
async def test_without_a_valid_key_only_the_probes_answer(path: str, headers: Mapping[str, str], keys: Path):
    async with client_of(app_with(FakeEngine(["yes"]), api_keys=keys)) as client:
        reply = await client.get(path, headers=headers)
        for probe in ("/livez", "/readyz", "/health"):
            assert (await client.get(probe)).status_code == 200
    assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert "x-request-id" in reply.headers


async def test_the_path_counts_as_it_was_sent(keys: Path):
    """Whatever a router makes of an encoded path, it is no probe."""
    async with listening(app_with(FakeEngine(["yes"]), api_keys=keys)) as url:
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /%6civez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


async def test_a_refusal_does_not_wait_for_the_body(keys: Path):
    async with listening(app_with(FakeEngine(["yes"]), api_keys=keys)) as url:
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


@pytest.mark.parametrize("headers", [ANSWER, {"authorization": "bearer key of a"}, {"x-api-key": "key of a"}])
async def test_a_valid_key_is_answered(headers: Mapping[str, str], keys: Path):
    async with client_of(app_with(FakeEngine(["yes"]), api_keys=keys)) as client:
        reply = await client.post(CHAT, json=question(), headers=headers)
        assert reply.json()["choices"][0]["message"]["content"] == "yes"
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


async def test_a_key_has_its_own_limits(keys: Path):
    engine = FakeEngine(["yes"], FakeCritic({"yes": (0.5,)}))
    async with client_of(app_with(engine, api_keys=keys)) as client:
        reply = await client.post(CHAT, json=question(best_of=3), headers=ANSWER)
        assert reply.status_code == 400 and "2" in reply.json()["error"]["message"]
        reply = await client.post(CHAT, json=question(best_of=3), headers=bearer("one"))
        assert reply.status_code == 200, reply.text


async def test_a_request_beyond_the_rate_is_told_when_to_come_back(keys: Path):
    async with client_of(app_with(FakeEngine(["yes"]), api_keys=keys)) as client:
        first = await client.post(CHAT, json=question(stream=True), headers=bearer("slow"))
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        events_of(first.text)
        second = await client.post(CHAT, json=question(), headers=bearer("slow"))
        assert (await client.post(CHAT, json=question(), headers=ANSWER)).status_code == 200
        assert (await client.get("/v1/models", headers=bearer("slow"))).status_code == 200
    assert second.status_code == 429 and 1 <= int(second.headers["retry-after"]) <= 60
    assert second.json()["error"]["code"] == "rate_limit_exceeded"
    assert second.headers["x-ratelimit-limit-requests"] == "1"


async def test_a_request_counts_until_its_reply_has_ended(keys: Path):
    engine = FakeEngine([None])
    async with listening(app_with(engine, api_keys=keys)) as url, httpx.AsyncClient(base_url=url) as client:
        endless = asyncio.create_task(client.post(CHAT, json=question(), headers=bearer("one")))
        await engine.running.wait()
        refused = await client.post(CHAT, json=question(), headers=bearer("one"))
        assert refused.status_code == 429
        endless.cancel()
        await asyncio.wait([endless])
        engine.answers = ["yes"]
        while (reply := await client.post(CHAT, json=question(), headers=bearer("one"))).status_code == 429:
            await asyncio.sleep(0.02)
        assert reply.status_code == 200


async def test_the_caches_of_two_keys_are_apart(keys: Path):
    critic = FakeCritic({"yes": (0.5,)})
    engine = FakeEngine(["yes"], critic)
    async with client_of(app_with(engine, api_keys=keys)) as client:
        for name in ("a", "a", "one"):
            await client.post(CHAT, json=question(best_of=2), headers=bearer(name))
    salts = [body["cache_salt"] for body in engine.bodies]
    assert salts[0] == salts[1] != salts[2]
    assert {conversation.cache_salt for conversation in critic.conversations} == set(salts)


async def test_tokens_are_counted_by_key(keys: Path):
    async with client_of(app_with(FakeEngine(["yes"]), api_keys=keys)) as client:
        for name in ("a", "one", "one"):
            await client.post(CHAT, json=question(), headers=bearer(name))
        text = (await client.get("/metrics", headers=ANSWER)).text
    line = 'internvl3_tokens_total{{key="{}",kind="completion",model="policy"}} {}'
    assert line.format("a", "2.0") in text and line.format("one", "4.0") in text


async def test_a_preflight_needs_no_key(keys: Path):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    origin = {"Origin": "https://app.example"}
    app = app_with(FakeEngine(["yes"]), api_keys=keys, allowed_origins="https://app.example")
    async with client_of(app) as client:
        preflight = await client.options(CHAT, headers=origin | asks)
        refused = await client.post(CHAT, json=question(), headers=origin)
    assert (
        preflight.status_code == 200 and "authorization" in preflight.headers["access-control-allow-headers"]
    )
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
