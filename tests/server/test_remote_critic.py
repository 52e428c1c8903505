"""Two processes: a policy's server that uses the critic of another server, beside one process with both.

The two choose and score alike, media are sent once, and the critic goes away and comes back.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.checkpoints import WINDOW
from tests.server.conftest import random_pair
from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer, serving
from tests.server.tcp_proxy import ThreadedProxy, proxy_in_a_thread
from tests.server.test_end_to_end import CHAT, image_question, running_requests
from tests.server.test_usage import key_tokens
from tests.server.test_video_end_to_end import frames, video_question
from tests.videos import write_video

pytestmark = pytest.mark.engine
SCORE = "/v1/critic/score"
KEY = "of the critic"
BEARER = {"Authorization": f"Bearer {KEY}"}
PHOTO = encoded("PNG", (600, 400))
FRAMES = 24
TILE_SIZE = 56
REST = 60_000  # bytes: the heads and texts of ten requests take less, and every medium here takes more


@dataclass(frozen=True, kw_only=True)
class TwoServers:
    """A policy's server, the proxy through which it reaches the critic, and the critic's server."""

    policy: RunningServer
    link: ThreadedProxy
    critic: RunningServer


@pytest.fixture(scope="module")
def two_servers(engine_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoServers]:
    """Start both at the same time: a policy's server starts without its critic, too."""
    folder: Path = tmp_path_factory.mktemp("two_servers")
    policy, critic = random_pair(folder)
    shared = ["--dtype", "float32", "--max-model-len", str(2 * WINDOW)]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        link = stack.enter_context(proxy_in_a_thread(0))
        link.close()
        of_policy = ["--policy", str(policy), "--name", "nano", "--critic-url", link.proxy.url]
        starts = [
            pool.submit(stack.enter_context, serving(env, folder / log, *flags, *shared))
            for env, log, flags in (
                (engine_env | {"INTERNVL3_CRITIC_KEY": KEY}, "policy.log", of_policy),
                (
                    engine_env | {"INTERNVL3_API_KEY": KEY},
                    "critic.log",
                    ["--policy", "none", "--critic", str(critic)],
                ),
            )
        ]
        servers = TwoServers(policy=starts[0].result(), link=link, critic=starts[1].result())
        link.proxy.target = int(servers.critic.url.rpartition(":")[2])
        link.open()
        yield servers


@pytest.fixture
async def policy_client(two_servers: TwoServers) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the policy's server, which has reached its critic."""
    async with httpx.AsyncClient(base_url=two_servers.policy.url, timeout=120) as opened:
        await until_ready(opened, {"status": "ok"})
        yield opened


async def until_ready(client: httpx.AsyncClient, expected: dict[str, str]) -> None:
    async with asyncio.timeout(120):
        while (await client.get("/readyz")).json() != expected:
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES).read_bytes()


def best_of_8(body: dict[str, Any], salt: str) -> dict[str, Any]:
    """Return a request whose scores no other salt has left in the critic's memory."""
    scaling = {"n": 8, "return_candidates": True, "on_critic_error": "fail"}
    sampling = {"temperature": 1, "seed": 11, "cache_salt": salt}
    return {**body, "test_time_scaling": scaling, "max_tokens": 40, **sampling}


async def report(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    chosen: dict[str, Any] = reply.json()["test_time_scaling"]
    return chosen


def assert_same_choice(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert two["selected"] == one["selected"] and two["critic"] == one["critic"] == "critic"
    assert one["degraded"] is None and two["degraded"] is None
    for mine, others in zip(one["candidates"], two["candidates"], strict=True):
        assert (others["text"], others["steps"]) == (mine["text"], mine["steps"])
        assert others["step_scores"] == pytest.approx(mine["step_scores"], abs=1e-5)
    assert len({round(entry["score"], 5) for entry in one["candidates"]}) > 3, "scores that could differ"


@pytest.mark.parametrize("medium", ["image", "video"])
async def test_two_processes_choose_as_one_and_send_media_once(
    medium: str,
    two_servers: TwoServers,
    policy_client: httpx.AsyncClient,
    client: httpx.AsyncClient,
    clip: bytes,
):
    if medium == "image":
        body, size = image_question(data_url(PHOTO)), len(PHOTO)
    else:
        options = frames(FRAMES, timestamps=True)
        body, size = video_question(clip, media_io_kwargs=options), FRAMES * TILE_SIZE**2 * 3
    before = two_servers.link.proxy.sent
    two = await report(policy_client, best_of_8(body, "two processes"))
    sent = two_servers.link.proxy.sent - before
    print(f"{medium}: {size} bytes, sent for 8 answers: {sent}")
    assert REST < size < sent < size + REST
    assert_same_choice(await report(client, best_of_8(body, "one process")), two)


async def test_the_critics_tokens_are_counted_on_both_servers(
    two_servers: TwoServers, policy_client: httpx.AsyncClient
):
    async with httpx.AsyncClient(base_url=two_servers.critic.url, headers=BEARER) as critic_client:
        clients = ((policy_client, "anonymous"), (critic_client, "default"))
        before = [await key_tokens(client, key) for client, key in clients]
        used = (await report(policy_client, best_of_8(image_question(), "counted")))["usage"]["critic"]
        after = [await key_tokens(client, key) for client, key in clients]
    counted = [
        {label: value for label, value in (now - then).items() if label.startswith("critic")}
        for now, then in zip(after, before, strict=True)
    ]
    assert used["prompt"] > used["cached"] > 0
    for figures in counted:
        assert sum(figures.values()) == used["prompt"], counted


async def test_answers_of_a_client_get_the_same_scores_from_all_three(
    two_servers: TwoServers, policy_client: httpx.AsyncClient, client: httpx.AsyncClient
):
    body = {"messages": image_question()["messages"], "answers": ["One.\n\nTwo.", "Three."]}
    async with httpx.AsyncClient(base_url=two_servers.critic.url, headers=BEARER) as critic_client:
        replies = [
            (await asked.post(SCORE, json=body)).json() for asked in (client, policy_client, critic_client)
        ]
        listed = (await critic_client.get("/v1/models")).json()["data"]
        refused = await critic_client.post(CHAT, json=image_question())
    scores = [[entry["step_scores"] for entry in reply["scores"]] for reply in replies]
    assert scores[1] == scores[2] and scores[1][0] == pytest.approx(scores[0][0], abs=1e-5)
    assert scores[1][1] == pytest.approx(scores[0][1], abs=1e-5)
    assert [card["id"] for card in listed] == ["critic"]
    setups = [(await asked.get("/v1/models")).json()["data"][0]["setup"] for asked in (client, policy_client)]
    assert setups[0]["critic"] == setups[1]["critic"] == listed[0]["setup"]["critic"]
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "no_policy"


async def test_a_critic_that_goes_away_degrades_answers_until_it_is_back(
    two_servers: TwoServers, policy_client: httpx.AsyncClient
):
    body = best_of_8(image_question(), "away")
    whole = await report(policy_client, body)
    degrading = {**body, "cache_salt": "gone", "test_time_scaling": {"n": 8}}
    long = {**degrading, "max_tokens": 400, "ignore_eos": True}
    running = asyncio.create_task(report(policy_client, long))
    while await running_requests(policy_client) == 0:
        await asyncio.sleep(0.02)
    two_servers.link.close()
    for degraded in (await running, await report(policy_client, degrading)):
        assert "critic" in degraded["degraded"]
        assert all(candidate["score"] is None for candidate in degraded["candidates"])
    await until_ready(policy_client, {"status": "degraded", "critic": "unreachable"})
    assert (await policy_client.get("/livez")).status_code == 200
    refused = await policy_client.post(CHAT, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "critic_failed")
    two_servers.link.open()
    await until_ready(policy_client, {"status": "ok"})
    assert_same_choice(whole, await report(policy_client, {**body, "cache_salt": "back"}))
