"""What a real server's metrics and log say of plain answers, of candidates, and of what was cancelled."""

import asyncio
from collections import Counter

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.running import RunningServer
from tests.server.test_end_to_end import CHAT, image_question, running_requests

pytestmark = pytest.mark.engine


async def samples(client: httpx.AsyncClient) -> Counter[str]:
    """Return every sample of ours as `name label...`."""
    text = (await client.get("/metrics")).text
    return Counter(
        {
            " ".join((sample.name.removeprefix("internvl3_"), *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            if family.name.startswith("internvl3_")
            for sample in family.samples
        }
    )


async def samples_at_rest(client: httpx.AsyncClient) -> Counter[str]:
    """Return the samples once no request runs in the engines."""
    while await running_requests(client) > 0:
        await asyncio.sleep(0.02)
    return await samples(client)


async def line_of(server: RunningServer, request_id: str) -> str:
    """Return the line of a request, which the server writes when the client has the reply already."""
    while not (lines := [line for line in server.log.read_text().splitlines() if request_id in line]):
        await asyncio.sleep(0.02)
    (line,) = lines
    return line


async def test_metrics_of_a_selection_and_of_a_plain_answer(client):
    before = await samples_at_rest(client)
    plain = (await client.post(CHAT, json=image_question(max_tokens=5, ignore_eos=True))).json()
    body = image_question(best_of=3, max_tokens=5, ignore_eos=True, mm_processor_kwargs={"v2pe_delta": 0.25})
    scaled = (await client.post(CHAT, json=body)).json()
    tiles = plain["vision"]["tiles"] + scaled["vision"]["tiles"]
    grown = await samples_at_rest(client) - before
    for kind, answers in (("plain", 1), ("candidate", 3)):
        assert grown[f"time_to_first_token_seconds_count {kind}"] == answers
        assert grown[f"time_between_tokens_seconds_count {kind}"] == answers * (5 - 1)
        assert grown[f"cancelled_tokens_total {kind}"] == 0
    assert grown["v2pe_delta_count"] == 2 and grown["v2pe_delta_bucket 0.25"] == 1
    assert grown["media_seconds_count image"] == grown["media_decodes_total image"] == 2
    assert grown["tiles_total image"] == tiles
    assert grown["media_bytes_total image"] > 0
    assert grown["candidates_total finished"] == 3
    # The critic also reads the question ahead, which is a scoring of an empty answer.
    assert grown["scores_total scored"] + grown["scores_total cancelled"] == 3 + 1
    assert grown["critic_seconds_count"] == grown["scores_total scored"] >= 3
    assert grown["queue_seconds_count interactive"] == 2
    now = await samples(client)
    assert now["event_loop_lag_seconds_count"] > 0  # since the server's start
    assert now["process_resident_memory_bytes"] > 2**20
    assert [name for name in now if name.startswith("build_info 0.1.0 0.32")]


@pytest.mark.parametrize(("extra", "kind"), [({}, "plain"), ({"best_of": 2}, "candidate")])
async def test_tokens_of_a_client_that_left_are_counted_as_cancelled(client, server, extra, kind):
    before = await samples_at_rest(client)
    body = image_question(max_tokens=1500, ignore_eos=True, stream=True, **extra)
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        asked = asyncio.create_task(leaving.post(CHAT, json=body))
        gaps = f"time_between_tokens_seconds_count {kind}"
        while (await samples(client))[gaps] == before[gaps]:
            await asyncio.sleep(0.02)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    grown = await samples_at_rest(client) - before
    assert grown[f"cancelled_tokens_total {kind}"] >= 2


async def test_a_refused_request_names_its_reason(client, server):
    before = await samples_at_rest(client)
    headers = {"X-Request-Id": "a-refused-one"}
    reply = await client.post(CHAT, json=image_question(temperature=-1), headers=headers)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "temperature")
    code = reply.json()["error"]["code"]
    line = await line_of(server, "a-refused-one")
    assert line.endswith(f"a-refused-one key=anonymous model=nano code={code} param=temperature")
    grown = await samples_at_rest(client) - before
    assert grown[f"http_requests_refused_total {code} {CHAT}"] == 1
    await client.post(
        CHAT, json=image_question(max_tokens=3, ignore_eos=True), headers={"X-Request-Id": "a-cut-one"}
    )
    line = await line_of(server, "a-cut-one")
    assert "completion_tokens=3" in line and line.endswith("stop=length")
