"""Probes, models and metrics work, and every bad request gets OpenAI's error body."""

import asyncio
import threading
from importlib.metadata import version
from typing import Any

import pytest

from server.engine_interface import Engines
from server.http.app import create_app
from server.protocol.strict_json import parse_object
from tests.server.apps import app_with, client_of, question, settings
from tests.server.fakes import FakeCritic, FakeEngine, engines_of

CHAT = "/v1/chat/completions"


def engine() -> FakeEngine:
    return FakeEngine(["yes"], FakeCritic({"yes": [0.5]}))


def refusal(reply, status: int) -> dict:
    """Return the error object, after checking that it is complete and has the right type."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]
    return error


async def test_probes_while_loading_and_after():
    loaded = asyncio.Event()

    async def start() -> Engines:
        await loaded.wait()
        return engines_of(engine())

    async with client_of(create_app(settings(), start)) as client:
        assert (await client.get("/livez")).status_code == 200
        assert refusal(await client.get("/readyz"), 503)["code"] == "model_loading"
        early = await client.post(CHAT, json=question())
        refusal(early, 503)
        assert early.headers["retry-after"] == "5"
        assert (await client.get("/v1/models")).status_code == 200
        loaded.set()
        await asyncio.sleep(0.01)
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/health")).status_code == 200
        assert (await client.post(CHAT, json=question())).status_code == 200


async def test_a_failed_start_is_kept_and_reported():
    reported = asyncio.Event()

    async def start() -> Engines:
        raise RuntimeError("no weights")

    app = create_app(settings(), start, lambda failure: reported.set())
    async with client_of(app):
        await reported.wait()
        assert str(app.state.service.context.failure) == "no weights"


async def test_a_dead_engine_is_neither_ready_nor_alive():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        assert (await client.get("/readyz")).status_code == 200
        fake.alive = False
        for request in (client.get("/readyz"), client.get("/livez"), client.post(CHAT, json=question())):
            assert refusal(await request, 503)["code"] == "engine_stopped"
    assert fake.closed


async def test_without_its_critic_the_server_is_ready_and_says_so():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        assert 'internvl3_engine_up{engine="critic"} 1.0' in (await client.get("/metrics")).text
        assert fake.critic is not None
        fake.critic.alive = False
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert (await client.get("/livez")).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert 'internvl3_engine_up{engine="critic"} 0.0' in metrics
        assert 'internvl3_engine_up{engine="policy"} 1.0' in metrics


async def test_models_lists_the_name_and_its_alias():
    async with client_of(app_with(engine(), name="m")) as client:
        listed = (await client.get("/v1/models")).json()
        assert [card["id"] for card in listed["data"]] == ["m", "m:bo8"]
        assert listed["data"][0]["max_model_len"] == 2048
        assert listed["data"][0]["setup"] == {
            "version": version("internvl3-serving"),
            "policy": {"name": "nano"},
            "critic": {"name": "fake-critic"},
        }
        assert (await client.get("/v1/models/m:bo8")).json() == listed["data"][1]
        assert refusal(await client.get("/v1/models/other"), 404)["code"] == "model_not_found"


async def test_no_alias_without_a_critic():
    async with client_of(app_with(FakeEngine(["yes"]), critic="none")) as client:
        assert [card["id"] for card in (await client.get("/v1/models")).json()["data"]] == ["nano"]


async def test_metrics_are_those_of_the_server_and_of_the_engines():
    async with client_of(app_with(engine())) as client:
        await client.post(CHAT, json=question(best_of=2))
        await client.get("/no/such/path")
        text = (await client.get("/metrics")).text
    assert 'internvl3_candidates_total{outcome="finished"} 2.0' in text
    assert f'internvl3_http_requests_total{{route="{CHAT}",status="200"}} 1.0' in text
    assert 'internvl3_http_requests_total{route="unknown",status="404"} 1.0' in text
    assert "vllm:num_requests_running 0.0" in text


async def test_request_ids_are_kept_or_generated():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        kept = await client.post(CHAT, json=question(), headers={"X-Request-Id": "mine-1"})
        generated = await client.post(CHAT, json=question(), headers={"X-Request-Id": "no spaces allowed"})
    assert kept.headers["x-request-id"] == fake.bodies[0]["request_id"] == "mine-1"
    assert generated.headers["x-request-id"] == fake.bodies[1]["request_id"] != "no spaces allowed"


async def test_every_reply_says_how_long_it_took_to_begin():
    async with client_of(app_with(engine())) as client:
        replies = [await client.post(CHAT, json=question(stream=stream)) for stream in (False, True)]
        replies.append(await client.post(CHAT, content=b"{"))
    assert all(reply.headers["openai-processing-ms"].isdecimal() for reply in replies)


async def test_unknown_paths_and_methods_are_refused():
    async with client_of(app_with(engine())) as client:
        assert "/v1/nothing" in refusal(await client.get("/v1/nothing"), 404)["message"]
        other = refusal(await client.post("/completions", json={}), 404)["message"]
        assert "POST /v1/chat/completions" in other
        wrong = await client.get(CHAT)
        refusal(wrong, 405)
        assert wrong.headers["allow"] == "POST"
        for path in ("/docs", "/redoc"):
            refusal(await client.get(path), 404)


BAD_BODIES = [
    (b"{", 400),
    (b"", 400),
    (b"[]", 400),
    (b'"text"', 400),
    (b"\xff\xfe", 400),
    (b'{"model": "nano", "messages": NaN}', 400),
    (b'{"model": "nano", "messages": [{"role": "user", "content": "\\ud800"}]}', 400),
    (b"[" * 100_000, 400),
    (b'{"model": "nano", "messages": [{"role": "user", "content": "a"}], "temperature": 1e999}', 400),
    (b'{"model": "nano", "messages": [{"role": "user", "content": "a"}], "logit_bias": {"1": -1e999}}', 400),
]


@pytest.mark.parametrize(("raw", "status"), BAD_BODIES)
async def test_bodies_that_are_no_json_object(raw, status):
    fake = engine()
    async with client_of(app_with(fake)) as client:
        reply = await client.post(CHAT, content=raw, headers={"content-type": "application/json"})
        assert "body" in refusal(reply, status)["message"].lower()
        assert (await client.post(CHAT, json=question())).status_code == 200


async def test_bodies_of_other_types_or_compressed_are_refused():
    async with client_of(app_with(engine())) as client:
        refusal(await client.post(CHAT, content=b"{}", headers={"content-type": "text/plain"}), 415)
        zipped = {"content-type": "application/json", "content-encoding": "gzip"}
        refusal(await client.post(CHAT, content=b"{}", headers=zipped), 415)


async def test_bodies_that_are_too_large_are_refused_with_or_without_their_length():
    async def pieces():
        for _ in range(40):
            yield b" " * 100

    headers = {"content-type": "application/json"}
    async with client_of(app_with(engine(), max_body_bytes=1000)) as client:
        for content in (b" " * 4000, pieces()):
            error = refusal(await client.post(CHAT, content=content, headers=headers), 413)
            assert "1000 bytes" in error["message"] and error["code"] == "request_too_large"


async def test_a_body_that_comes_too_slowly_is_refused():
    async def slowly():
        yield b"{"
        await asyncio.sleep(60)

    async with client_of(app_with(engine(), body_seconds=0.05)) as client:
        refusal(await client.post(CHAT, content=slowly(), headers={"content-type": "application/json"}), 408)


BAD_FIELDS = [
    ({"best_of": 0}, "best_of"),
    ({"best_of": 10_000}, "best_of"),
    ({"best_of": "8"}, "best_of"),
    ({"best_of": True}, "best_of"),
    ({"best_of": 2, "n": 3}, "n"),
    ({"n": 0}, "n"),
    ({"n": 10_000}, "n"),
    ({"best_of": 2, "test_time_scaling": {"n": 2}}, "best_of"),
    ({"test_time_scaling": {"n": 10_000}}, "test_time_scaling.n"),
    ({"test_time_scaling": {"max_minutes": 3}}, "test_time_scaling.max_minutes"),
    ({"test_time_scaling": {"max_seconds": 0}}, "test_time_scaling.max_seconds"),
    ({"test_time_scaling": {"max_tokens_total": 0}}, "test_time_scaling.max_tokens_total"),
    ({"test_time_scaling": {"stop_score": 1.5}}, "test_time_scaling.stop_score"),
    ({"test_time_scaling": {"stop_agreement": 0.5}}, "test_time_scaling.stop_agreement"),
    (
        {"test_time_scaling": {"method": "self_consistency", "stop_score": 0.5}},
        "test_time_scaling.stop_score",
    ),
    ({"test_time_scaling": {"method": "magic"}}, "test_time_scaling.method"),
    ({"v2pe_delta": 0}, "v2pe_delta"),
    ({"v2pe_delta": -1}, "v2pe_delta"),
    ({"v2pe_delta": 2}, "v2pe_delta"),
    ({"v2pe_delta": "x"}, "v2pe_delta"),
    ({"v2pe_delta": True}, "v2pe_delta"),
    ({"mm_processor_kwargs": {"v2pe_delta": 2}}, "mm_processor_kwargs.v2pe_delta"),
    ({"mm_processor_kwargs": {"images_kwargs": {}}}, "mm_processor_kwargs.images_kwargs"),
    ({"v2pe_delta": 0.5, "mm_processor_kwargs": {"v2pe_delta": 0.25}}, "v2pe_delta"),
    ({"max_dynamic_patch": 0}, "max_dynamic_patch"),
    ({"media_io_kwargs": {"image": {}}}, "media_io_kwargs.image"),
    ({"media_io_kwargs": {"video": {"num_frames": 0}}}, "media_io_kwargs.video.num_frames"),
    ({"media_io_kwargs": {"video": {"num_frames": 1.5}}}, "media_io_kwargs.video.num_frames"),
    ({"media_io_kwargs": {"video": {"fps": 0}}}, "media_io_kwargs.video.fps"),
    ({"media_io_kwargs": {"video": {"fps": "1"}}}, "media_io_kwargs.video.fps"),
    ({"media_io_kwargs": {"video": {"mode": "fast"}}}, "media_io_kwargs.video.mode"),
    ({"media_io_kwargs": {"video": {"timestamps": 1}}}, "media_io_kwargs.video.timestamps"),
    ({"media_io_kwargs": {"video": {"max_dynamic_patch": 0}}}, "media_io_kwargs.video.max_dynamic_patch"),
    ({"media_io_kwargs": {"video": {"backend": "decord"}}}, "media_io_kwargs.video.backend"),
    ({"media_io_kwargs": "video"}, "media_io_kwargs"),
    ({"kv_transfer_params": {"prompt_token_ids": [1]}}, "kv_transfer_params"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"seed": 2**63}, "seed"),
    ({"model": "nano:bo10000"}, "model"),
]


@pytest.mark.parametrize(("extra", "param"), BAD_FIELDS)
async def test_fields_out_of_range_are_named(extra, param):
    fake = engine()
    async with client_of(app_with(fake)) as client:
        assert refusal(await client.post(CHAT, json=question(**extra)), 400)["param"] == param
        assert not fake.bodies
        assert (await client.post(CHAT, json=question())).status_code == 200


async def test_error_messages_name_the_limits():
    async with client_of(app_with(engine(), max_best_of=16)) as client:
        many = refusal(await client.post(CHAT, json=question(best_of=17)), 400)["message"]
        delta = refusal(await client.post(CHAT, json=question(v2pe_delta=2)), 400)["message"]
    assert "between 1 and 16" in many
    assert "above 0 and at most 1" in delta


@pytest.mark.parametrize("name", ["other", "nano:bo", "other:bo8", "nano:bo8:bo8", "nano:bo-1"])
async def test_an_unknown_model_is_refused(name):
    async with client_of(app_with(engine())) as client:
        error = refusal(await client.post(CHAT, json=question(model=name)), 404)
    assert error["code"] == "model_not_found" and error["param"] == "model" and "nano" in error["message"]


async def test_vision_fields_of_both_places_reach_the_processor():
    fake = engine()
    async with client_of(app_with(fake)) as client:
        await client.post(CHAT, json=question(v2pe_delta=0.5, max_dynamic_patch=100, max_tokens=9))
        await client.post(
            CHAT, json=question(mm_processor_kwargs={"v2pe_delta": "auto", "min_dynamic_patch": 2})
        )
    assert fake.bodies[0]["mm_processor_kwargs"] == {
        "v2pe_delta": 0.5,
        "max_dynamic_patch": 100,
        "v2pe_max_tokens": 9,
    }
    assert fake.bodies[1]["mm_processor_kwargs"] == {"v2pe_delta": "auto", "min_dynamic_patch": 2}
    assert "v2pe_delta" not in fake.bodies[0]


async def test_the_reply_to_a_bug_holds_nothing_of_the_server():
    class Broken(FakeEngine):
        async def complete(self, body, choose=None, *, media, count):
            raise RuntimeError("at 0x7f00 in /secret/path")

    async with client_of(app_with(Broken(["yes"]))) as client:
        error = refusal(await client.post(CHAT, json=question()), 500)
    assert "secret" not in error["message"] and "0x" not in error["message"]


@pytest.mark.parametrize(("size", "in_thread"), [(100, False), (2**20, True)])
async def test_large_bodies_are_parsed_in_a_thread(
    size: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
):
    """On the event loop a body of 60 MB would let all other requests wait for seconds."""
    threads: list[bool] = []

    def spy(raw: bytes) -> dict[str, Any]:
        threads.append(threading.current_thread() is not threading.main_thread())
        return parse_object(raw)

    monkeypatch.setattr("server.http.request.parse_object", spy)
    async with client_of(app_with(engine())) as client:
        reply = await client.post(CHAT, json=question(metadata={"padding": "x" * size}))
    assert reply.status_code == 200 and threads == [in_thread]
