"""What a server does for others that use its critic, over HTTP: its description, media, and no policy."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.access.key_file import digest_of
from server.engine_interface import Engines
from server.media.transfer import TILES, outgoing_media
from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeCritic, FakeEngine, engines_of
from tests.server.media.test_loader import encoded
from tests.server.media.test_transfer import VIDEO

PHOTO = encoded("PNG", (40, 30))
SCORE = "/v1/critic/score"


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def put(
    client: httpx.AsyncClient, data: bytes, kind: str = "image/png", *, name: str | None = None, **more: Any
) -> httpx.Response:
    path = f"/v1/critic/media/{name or name_of(data)}"
    headers = {"Content-Type": kind, **more.pop("headers", {})}
    return await client.put(path, content=data, headers=headers, **more)


def body(data: bytes, kind: str = "image_url", **more: Any) -> dict[str, Any]:
    part = {"type": kind, kind: {"url": f"stored:{name_of(data)}"}}
    return {"messages": [{"role": "user", "content": [part]}], "answers": ["good"], **more}


def engine() -> FakeEngine:
    return FakeEngine(["x"], FakeCritic({"good": (0.9,), "": (0.5,)}))


def refusal(reply: httpx.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


async def test_a_question_names_an_image_that_was_sent_before():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        unknown = refusal(await client.post(SCORE, json=body(PHOTO)), 409)
        assert unknown["code"] == "unknown_media" and unknown["missing"] == [name_of(PHOTO)]
        kept = await put(client, PHOTO)
        assert (kept.status_code, kept.json()["id"], kept.json()["bytes"]) == (
            201,
            name_of(PHOTO),
            len(PHOTO),
        )
        reply = await client.post(SCORE, json=body(PHOTO))
        assert reply.json()["scores"][0]["score"] == 0.9
        metrics = (await client.get("/metrics")).text
    assert "internvl3_critic_media_bytes 0.0" not in metrics
    assert f'internvl3_media_bytes_total{{kind="image"}} {float(len(PHOTO))}' in metrics
    assert fake.critic is not None
    (part,) = fake.critic.conversations[0].messages[0]["content"]
    assert part["image_url"]["url"] == f"internvl3:{name_of(PHOTO)}" and part["uuid"] == name_of(PHOTO)


async def test_media_of_one_key_or_salt_are_unknown_to_another(tmp_path: Path):
    keys = tmp_path / "keys.toml"
    keys.write_text("".join(f'[keys.{name}]\nsha256 = "{digest_of(name)}"\n' for name in ("a", "b")))
    mine, others = ({"Authorization": f"Bearer {name}"} for name in ("a", "b"))
    async with client_of(app_with(engine(), api_keys=keys)) as client:
        assert (await put(client, PHOTO)).status_code == 401
        assert (await put(client, PHOTO, headers=mine, params={"cache_salt": "s"})).status_code == 201
        salted = body(PHOTO, cache_salt="s")
        assert (await client.post(SCORE, json=salted, headers=mine)).status_code == 200
        refusal(await client.post(SCORE, json=salted, headers=others), 409)
        refusal(await client.post(SCORE, json=body(PHOTO), headers=mine), 409)


async def test_the_id_is_the_hash_of_the_body():
    """So nobody can put another image in place of somebody's."""
    async with client_of(app_with(engine())) as client:
        for name in (name_of(b"other"), name_of(PHOTO).upper(), "x", name_of(PHOTO)[:-1]):
            assert refusal(await put(client, PHOTO, name=name), 400)["param"] == "id"


async def test_what_is_sent_is_checked_as_media_of_requests_are():
    tiles = b"".join(next(iter(outgoing_media(video_messages(), {"internvl3:v": VIDEO}).values())).pieces())
    async with client_of(app_with(engine(), max_image_bytes=len(PHOTO), max_pixels=2000)) as client:
        assert refusal(await put(client, b"no image"), 400)["code"] == "invalid_image"
        assert refusal(await put(client, PHOTO + b"x"), 413)["code"] == "request_too_large"
        assert refusal(await put(client, encoded("PNG", (50, 50), "1")), 400)["code"] == "image_too_large"
        assert refusal(await put(client, b"no tiles", TILES), 400)["code"] == "invalid_video"
        assert "4 pixels a side" in refusal(await put(client, tiles, TILES), 400)["message"]
        zipped = await put(client, PHOTO, headers={"Content-Encoding": "gzip"})
        assert refusal(zipped, 415)["code"] == "unsupported_content_encoding"


def video_messages() -> list[dict[str, Any]]:
    part = {"type": "video_url", "video_url": {"url": "internvl3:v"}, "uuid": "v"}
    return [{"role": "user", "content": [part]}]


async def test_stored_media_count_towards_the_limits_of_a_request():
    async with client_of(app_with(engine(), max_images=1, max_pixels=2000)) as client:
        await put(client, PHOTO)
        two = body(PHOTO)
        two["messages"] *= 2
        assert refusal(await client.post(SCORE, json=two), 400)["code"] == "too_many_images"
        inputs = {"inputs": [body(PHOTO), body(PHOTO)]}
        data = (await client.post(SCORE, json=inputs)).json()["data"]
        assert [entry.get("error", {}).get("code") for entry in data] == [None, "too_many_images"]
        as_video = body(PHOTO, "video_url")
        assert "other kind" in refusal(await client.post(SCORE, json=as_video), 400)["message"]


async def test_other_endpoints_know_no_stored_media():
    async with client_of(app_with(engine())) as client:
        await put(client, PHOTO)
        chat = question(messages=body(PHOTO)["messages"])
        reply = await client.post("/v1/chat/completions", json=chat)
        assert refusal(reply, 400)["code"] == "invalid_image_url"


async def test_an_empty_answer_is_scored_if_the_request_says_so():
    async with client_of(app_with(engine())) as client:
        asked = {"messages": question()["messages"], "answers": [[""]]}
        assert refusal(await client.post(SCORE, json=asked), 400)["param"] == "answers[0]"
        scored = (await client.post(SCORE, json={**asked, "score_empty": True})).json()
        assert scored["scores"][0]["step_scores"] == [0.5]


async def test_the_critic_describes_itself():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        described = (await client.get("/v1/critic")).json()
        assert described == {
            "object": "critic",
            "name": "fake-critic",
            "v2pe_delta": 1.0,
            "tile_size": 56,
            "setup": {"name": "fake-critic"},
        }
        assert fake.critic is not None
        fake.critic.alive = False
        assert refusal(await client.get("/v1/critic"), 503)["code"] == "engine_stopped"
        assert refusal(await put(client, PHOTO), 503)["code"] == "engine_stopped"
    async with client_of(app_with(FakeEngine(["x"]))) as client:
        assert refusal(await client.get("/v1/critic"), 404)["code"] == "no_critic"


@pytest.fixture
def critic_alone() -> Engines:
    fake = engine()
    return Engines(**{**vars(engines_of(fake)), "policy": None, "steps": {}})


ALONE = {"policy": "none", "critic": "nano"}
NEED_A_POLICY = (
    "/v1/chat/completions",
    "/v1/chat/completions/render",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/tokenize",
    "/detokenize",
)


async def test_a_server_without_a_policy_scores_and_answers_nothing(critic_alone: Engines):
    async with client_of(app_with(critic_alone, **ALONE)) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [card["id"] for card in listed] == ["nano-critic"]
        assert set(listed[0]["setup"]) == {"version", "critic"} and listed[0]["parent"] is None
        assert (await client.get("/v1/models/nano-critic")).json() == listed[0]
        await put(client, PHOTO)
        assert (await client.post(SCORE, json=body(PHOTO))).status_code == 200
        for path in NEED_A_POLICY:
            error = refusal(await client.post(path, json=question()), 404)
            assert "runs a critic alone" in error["message"], path
            assert path.startswith("/v1/messages") or error["code"] == "no_policy", "Anthropic's have no code"
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
        assert 'engine="policy"' not in (await client.get("/metrics")).text


async def test_without_its_critic_it_is_neither_ready_nor_alive(critic_alone: Engines):
    assert isinstance(critic_alone.critic, FakeCritic)
    async with client_of(app_with(critic_alone, **ALONE)) as client:
        critic_alone.critic.alive = False
        for path in ("/livez", "/readyz"):
            assert refusal(await client.get(path), 503)["code"] == "engine_stopped"
