"""The critic of another server, over real HTTP: it sees the same questions, and a fake critic scores them."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from model.video.tiles import Video
from server.engine_interface import CountTokens, Engines, ignore_tokens
from server.errors import TOO_LONG, ApiError, StartupError
from server.remote_critic.connection import CriticConnection
from server.remote_critic.engine import RemoteCriticEngine
from server.request_media import LoadedImage, Media
from tests.server.apps import app_with, client_of, listening, settings
from tests.server.fakes import FakeCritic, FakeEngine, engines_of
from tests.server.media.test_loader import data_url, encoded
from tests.server.tcp_proxy import TcpProxy, proxied
from ttscaling.types import Conversation, StepScores

CHAT = "/v1/chat/completions"
ANSWERS = ("one", "two\n\nwords", "three")
SCORES = {"": [0.5], "one": [0.2], "two\n\nwords": [0.9, 0.7], "three": [0.5]}
PHOTO = data_url(encoded("PNG", (300, 200)))
SMALL = data_url(encoded("PNG", (20, 20)))


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@asynccontextmanager
async def remote_critic(url: str, **chosen: Any) -> AsyncIterator[RemoteCriticEngine]:
    """Yield the critic behind a URL, for a policy whose own delta is 1."""
    mine = settings(critic_url=url, **chosen)
    critic = RemoteCriticEngine(await CriticConnection.open(mine), mine, policy_delta=1.0)
    try:
        yield critic
    finally:
        await critic.close()


def engines_with(critic: RemoteCriticEngine | FakeCritic) -> Engines:
    policy = FakeEngine(ANSWERS)
    return Engines(**{**vars(engines_of(policy)), "critic": critic})


async def post(engines: Engines, body: Mapping[str, Any], **chosen: Any) -> dict[str, Any]:
    async with client_of(app_with(engines, **chosen)) as client:
        reply = await client.post(CHAT, json={"model": "nano", "best_of": 3, "seed": 1, **body})
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture
def video_url(clip: Any) -> str:
    return "data:video/mp4;base64," + base64.b64encode(clip("plain.mp4").read_bytes()).decode()


@pytest.fixture(
    params=[
        "text",
        "image first",
        "image last",
        "images within a text",
        "a chat",
        "the same image",
        "video",
        "frames",
    ]
)
def question(request: pytest.FixtureRequest, video_url: str) -> dict[str, Any]:
    contents = {
        "text": "How many?",
        "image first": [image(PHOTO), text("How many?")],
        "image last": [text("How many?"), image(PHOTO)],
        "images within a text": [text("Is <image> left of <image>?"), image(PHOTO), image(SMALL)],
        "a chat": [image(PHOTO), text("Two words: <image> <image>")],
        "the same image": [image(SMALL), text("and"), image(SMALL), text("?")],
        "video": [{"type": "video_url", "video_url": {"url": video_url}}, text("What happens?")],
    }
    frames = ",".join(base64.b64encode(encoded("JPEG", (64, 48))).decode() for _ in range(3))
    of_frames = {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}
    contents["frames"] = [of_frames, text("What happens?")]
    messages: list[dict[str, Any]] = [{"role": "user", "content": contents[request.param]}]
    if request.param == "a chat":
        messages = [
            {"role": "system", "content": "Be brief."},
            *messages,
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": [text("And here?"), image(SMALL)]},
        ]
    options = {
        "video": {"num_frames": 3, "timestamps": True},
        "frames": {"fps": 2.0, "frames_indices": [0, 3, 7], "total_num_frames": 8, "timestamps": True},
    }.get(request.param)
    return {"messages": messages, **({"media_io_kwargs": {"video": options}} if options else {})}


async def test_another_servers_critic_sees_what_one_here_sees(question: dict[str, Any]):
    here, there = FakeCritic(SCORES), FakeCritic(SCORES)
    expected = (await post(engines_with(here), question))["test_time_scaling"]
    async with listening(app_with(FakeEngine([], there))) as url, remote_critic(url) as critic:
        report = (await post(engines_with(critic), question))["test_time_scaling"]
    assert {**report, "usage": None} == {**expected, "usage": None}
    assert report["selected"] == 1 and report["degraded"] is None
    # Reading ahead ends with the selection, which may be before it has begun.
    assert {*there.answers, ""} == {*here.answers, ""} == {*ANSWERS, ""}
    mine = here.conversations[0]
    for others in there.conversations:
        seen = [without_handles(conversation.messages) for conversation in (mine, others)]
        assert seen[0] == seen[1]
        assert mine.mm_processor_kwargs.get("video_timestamps") == others.mm_processor_kwargs.get(
            "video_timestamps"
        )
    for others_media in there.media:
        for mine_video, others_video in zip(here.media[0].values(), others_media.values(), strict=True):
            if isinstance(mine_video, LoadedImage):
                assert isinstance(others_video, LoadedImage)
                assert mine_video.pixels.tobytes() == others_video.pixels.tobytes()
                continue
            assert isinstance(others_video, Video)
            assert np.array_equal(mine_video.tiles, others_video.tiles)
            assert np.array_equal(mine_video.times_F, others_video.times_F)
            for field in ("width", "height", "duration", "total_frames", "backend", "missing"):
                assert getattr(mine_video, field) == getattr(others_video, field)


def without_handles(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return messages without the names of videos: hashes of the file here, and of the tiles there."""

    def plain(part: Mapping[str, Any]) -> Mapping[str, Any]:
        if part["type"] != "video_url":
            return part
        return {name: value for name, value in part.items() if name not in ("uuid", "video_url")}

    return [
        {**message, "content": [plain(part) for part in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in messages
    ]


async def count_of(url: str, route: str, **headers: str) -> float:
    """Return how many requests a server has answered with success on a route."""
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    named = [
        line for line in lines if line.startswith("internvl3_http_requests_total") and f'"{route}"' in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in named if 'status="20' in line)


async def test_media_are_sent_once_for_all_answers_of_a_question():
    photo = encoded("PNG", (400, 300))
    messages = [{"role": "user", "content": [image(data_url(photo)), image(SMALL), text("?")]}]
    async with listening(app_with(FakeEngine([], FakeCritic(SCORES)))) as url:
        async with proxied(int(url.rpartition(":")[2])) as proxy, remote_critic(proxy.url) as critic:
            await post(engines_with(critic), {"messages": messages, "best_of": 8})
            assert len(photo) < proxy.sent < 1.2 * len(photo) + 20_000
            await post(engines_with(critic), {"messages": messages, "best_of": 8})
        assert await count_of(url, "/v1/critic/media/{name}") == 2
        assert await count_of(url, "/v1/critic/score") > 6


async def test_media_that_were_dropped_are_sent_again():
    """The other server keeps one of the two images at a time."""
    sizes = (340, 340), (350, 350)
    photos = [data_url(encoded("PNG", size)) for size in sizes]
    assert sum(3 / 4 * len(photo) for photo in photos) + sum(4 * w * h for w, h in sizes) > 2**20
    there = FakeCritic(SCORES)
    async with listening(app_with(FakeEngine([], there), critic_media_mib=1)) as url:
        async with remote_critic(url) as critic:
            for photo in [*photos, *photos]:
                body = {"messages": [{"role": "user", "content": [image(photo), text("?")]}]}
                report = (await post(engines_with(critic), body))["test_time_scaling"]
                assert report["degraded"] is None and report["selected"] == 1
        assert await count_of(url, "/v1/critic/media/{name}") == 4


async def test_media_beyond_the_memory_of_the_other_server_degrade_the_answer():
    both = [image(data_url(encoded("PNG", size))) for size in ((440, 440), (450, 450))]
    body = {"messages": [{"role": "user", "content": [*both, text("?")]}]}
    async with (
        listening(app_with(FakeEngine([], FakeCritic(SCORES)), critic_media_mib=1)) as url,
        remote_critic(url) as critic,
    ):
        report = (await post(engines_with(critic), body))["test_time_scaling"]
    assert "critic-media-mib" in report["degraded"] and report["candidates"][0]["score"] is None


class Narrow(FakeCritic):
    """Its window is too small for any delta but 1/4."""

    async def score(
        self, conversation: Conversation, answer: str, *, media: Media, count: CountTokens
    ) -> StepScores:
        self.seen.append(conversation.mm_processor_kwargs)
        if conversation.mm_processor_kwargs.get("v2pe_delta") != 0.25:
            raise ApiError("It is too long.", code=TOO_LONG)
        return await super().score(conversation, answer, media=media, count=count)

    async def score_answers(self, *args: Any, **more: Any) -> Sequence[StepScores | ApiError]:
        try:
            return await super().score_answers(*args, **more)
        except ApiError as error:
            return [error]

    def __init__(self) -> None:
        super().__init__(SCORES)
        self.seen: list[Mapping[str, Any]] = []


@pytest.mark.parametrize(("rule", "deltas"), [("own", [None, 0.25]), ("request", [0.25])])
async def test_the_delta_follows_the_policys_servers_rule(rule: str, deltas: list[float | None]):
    there = Narrow()
    body = {"messages": [{"role": "user", "content": [image(SMALL), text("?")]}], "v2pe_delta": 0.25}
    async with (
        listening(app_with(FakeEngine([], there))) as url,
        remote_critic(url, critic_delta=rule) as critic,
    ):
        report = (await post(engines_with(critic), body))["test_time_scaling"]
        assert critic.keeps_scores({"v2pe_delta": 0.25}) == (rule == "request")
    assert report["selected"] == 1 and report["degraded"] is None
    assert {seen.get("v2pe_delta") for seen in there.seen} == set(deltas)


async def test_the_limits_on_tiles_hold_for_the_critic_too():
    there = FakeCritic(SCORES)
    body = {"messages": [{"role": "user", "content": [image(SMALL), text("?")]}]}
    async with (
        listening(app_with(FakeEngine([], there))) as url,
        remote_critic(url, max_tiles=3, max_total_tiles=5) as critic,
    ):
        await post(engines_with(critic), body)
        await post(engines_with(critic), {**body, "max_dynamic_patch": 2, "min_dynamic_patch": 2})
    seen = [dict(conversation.mm_processor_kwargs) for conversation in there.conversations]
    assert {"max_dynamic_patch": 3, "max_dynamic_patch_total": 5} in seen
    assert {"max_dynamic_patch": 2, "min_dynamic_patch": 2, "max_dynamic_patch_total": 5} in seen


async def test_the_critic_reads_a_question_ahead():
    there = FakeCritic(SCORES)
    messages = ({"role": "user", "content": "How many?"},)
    async with listening(app_with(FakeEngine([], there))) as url, remote_critic(url) as critic:
        read = await critic.score(Conversation(messages=messages), "", media={}, count=ignore_tokens)
    assert there.answers == [""] and read.scores == (0.5,)


async def test_tokens_count_for_the_asking_key_here_and_for_the_servers_key_there():
    body = {"messages": [{"role": "user", "content": [image(SMALL), text("?")]}], "answers": ["one", "three"]}
    tokens = 'internvl3_tokens_total{{key="{}",kind="prompt_computed",model="critic"}} 12.0'
    bearer = {"Authorization": "Bearer there"}
    async with (
        listening(app_with(FakeEngine([], FakeCritic(SCORES)), api_key="there")) as url,
        remote_critic(url, critic_key="there") as critic,
        client_of(app_with(engines_with(critic))) as client,
        httpx.AsyncClient(base_url=url, headers=bearer) as critic_client,
    ):
        reply = (await client.post("/v1/critic/score", json=body)).json()
        assert reply["usage"] == {"prompt_tokens": 20, "cached_tokens": 8}
        assert tokens.format("anonymous") in (await client.get("/metrics")).text
        assert tokens.format("default") in (await critic_client.get("/metrics")).text


async def test_answers_of_a_client_are_scored_by_the_other_server():
    body = {
        "messages": [{"role": "user", "content": [image(SMALL), text("?")]}],
        "answers": ["one", "unknown"],
    }
    async with (
        listening(app_with(FakeEngine([], FakeCritic(SCORES)))) as url,
        remote_critic(url) as critic,
        client_of(app_with(engines_with(critic))) as client,
    ):
        reply = await client.post("/v1/critic/score", json=body)
        described = (await client.get("/v1/critic")).json()
    assert reply.status_code == 200 and reply.json()["model"] == described["name"] == "fake-critic"
    first, second = reply.json()["scores"]
    assert first["step_scores"] == [0.2] and second["error"]["code"] == "critic_failed"


async def test_a_server_without_a_critic_for_us_ends_the_start():
    async with listening(app_with(FakeEngine([]))) as url:
        with pytest.raises(StartupError, match="HTTP 404: This server runs without a critic"):
            await CriticConnection.open(settings(critic_url=url))
    async with listening(app_with(FakeEngine([], FakeCritic(SCORES)), api_key="there")) as url:
        with pytest.raises(StartupError, match=r"HTTP 401.*--critic-key"):
            await CriticConnection.open(settings(critic_url=url, critic_key="wrong"))


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_critic_that_goes_away_degrades_answers_and_comes_back_by_itself():
    body = {"messages": [{"role": "user", "content": [image(SMALL), text("?")]}]}
    async with listening(app_with(FakeEngine([], FakeCritic(SCORES)))) as url:
        proxy = TcpProxy(int(url.rpartition(":")[2]))
        await proxy.open()
        await proxy.close()
        async with remote_critic(proxy.url) as critic:
            engines = engines_with(critic)
            async with client_of(app_with(engines)) as client:
                away = {"status": "degraded", "critic": "unreachable"}
                assert (await client.get("/readyz")).json() == away, "it was never there"
                assert "critic" not in (await client.get("/v1/models")).json()["data"][0]["setup"]
                await proxy.open()
                await until(lambda: critic.alive)
                assert (await client.get("/readyz")).json() == {"status": "ok"}
                assert (await client.get("/v1/models")).json()["data"][0]["setup"]["critic"]
                for _ in range(2):
                    whole = (await post(engines, body))["test_time_scaling"]
                    assert whole["selected"] == 1 and whole["degraded"] is None
                    await proxy.close()
                    degraded = (await post(engines, body))["test_time_scaling"]
                    assert degraded["degraded"] and degraded["candidates"][1]["score"] is None
                    assert (await client.get("/readyz")).json() == away
                    failing = {**body, "test_time_scaling": {"n": 2, "on_critic_error": "fail"}}
                    refused = await client.post(CHAT, json={"model": "nano", **failing})
                    assert refused.status_code == 503 and "retry-after" in refused.headers
                    scores = await client.post("/v1/critic/score", json={**body, "answers": ["one"]})
                    assert scores.status_code == 503
                    assert scores.json()["error"]["code"] == "critic_unreachable"
                    assert 'internvl3_engine_up{engine="critic"} 0.0' in (await client.get("/metrics")).text
                    await proxy.open()
                    await until(lambda: critic.alive)
        await proxy.close()
