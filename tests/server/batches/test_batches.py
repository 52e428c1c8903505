"""Batches over HTTP from their creation to their files, with an engine that answers with the question."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.errors import ApiError
from tests.server.apps import app_with, client_of
from tests.server.http.test_files import bearer, key_file, refusal

from .echo import CHAT, EchoEngine, batch_client, jsonl, line, new_batch, records, until


def answers(found: list[dict[str, Any]]) -> dict[str, str]:
    return {
        record["custom_id"]: record["response"]["body"]["choices"][0]["message"]["content"]
        for record in found
    }


async def test_each_line_is_answered_once_and_in_order(tmp_path: Path):
    engine = EchoEngine()
    lines = [line(f"q{number}", f"text {number} ü") for number in range(30)]
    async with batch_client(tmp_path, engine) as client:
        created = await new_batch(client, jsonl(lines), metadata={"job": "nightly"})
        assert created["status"] == "validating" and created["metadata"] == {"job": "nightly"}
        assert created["expires_at"] - created["created_at"] == 86_400
        batch = await until(client, created)
        assert batch["status"] == "completed", batch
        assert batch["request_counts"] == {"total": 30, "completed": 30, "failed": 0}
        assert batch["errors"] is None and batch["error_file_id"] is None
        order = ("created_at", "in_progress_at", "finalizing_at", "completed_at")
        assert [batch[name] for name in order] == sorted(batch[name] for name in order)
        assert all(batch[f"{name}_at"] is None for name in ("failed", "expired", "cancelling", "cancelled"))
        found = await records(client, batch["output_file_id"])
        assert list(answers(found).items()) == [(f"q{n}", f"text {n} ü") for n in range(30)]
        assert set(engine.answered.values()) == {1} and len(engine.answered) == 30
        assert len({record["id"] for record in found}) == 30
        for record in found:
            assert set(record) == {"id", "custom_id", "response", "error"} and record["error"] is None
            assert re.fullmatch(r"batch_req_[0-9a-f]{32}", record["id"])
            assert record["response"]["status_code"] == 200
            assert record["response"]["request_id"] == record["id"]
        output = (await client.get(f"/v1/files/{batch['output_file_id']}")).json()
        assert output["purpose"] == "batch_output" and output["filename"].startswith(batch["id"])
        metrics = (await client.get("/metrics")).text
        assert 'internvl3_batch_lines_total{outcome="completed"} 30.0' in metrics
        assert (
            'internvl3_tokens_total{key="anonymous",kind="prompt_computed",model="policy"} 210.0' in metrics
        )


async def test_refused_lines_go_to_the_error_file_with_their_status(tmp_path: Path):
    lines = [
        line("good"),
        line("stream", stream=True),
        line("model", model="unknown"),
        line("field", best_of="x"),
        line("many", best_of=1000),
    ]
    async with batch_client(tmp_path) as client:
        batch = await until(client, await new_batch(client, jsonl(lines)))
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
        assert answers(await records(client, batch["output_file_id"])) == {"good": "good"}
        errors = {record["custom_id"]: record for record in await records(client, batch["error_file_id"])}
        assert {name: record["response"]["status_code"] for name, record in errors.items()} == {
            "stream": 400,
            "model": 404,
            "field": 400,
            "many": 400,
        }
        assert errors["model"]["response"]["body"]["error"]["code"] == "model_not_found"
        assert errors["stream"]["response"]["body"]["error"]["param"] == "stream"


TEXTS: list[tuple[str, dict[str, Any]]] = [("a", {}), ("b", {"stream": True})]
GOOD = jsonl([line("a")])


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (b"", [("empty_file", None, "input_file_id")]),
        (b"\n \n", [("empty_file", None, "input_file_id")]),
        (b"not json\n" + GOOD, [("invalid_json_line", 1, None)]),
        (
            GOOD + b"[1]\n\n{}",
            [("invalid_json_line", 2, None), ("missing_required_parameter", 4, "custom_id")],
        ),
        (GOOD + GOOD, [("duplicate_custom_id", 2, "custom_id")]),
        (jsonl([line("a") | {"method": "GET"}]), [("invalid_method", 1, "method")]),
        (jsonl([line("a") | {"url": "/v1/embeddings"}]), [("invalid_url", 1, "url")]),
        (jsonl([line("a") | {"body": []}]), [("invalid_body", 1, "body")]),
        (jsonl([line("a") | {"custom_id": 7}]), [("invalid_custom_id", 1, "custom_id")]),
        (jsonl([line("a\0b")]), [("invalid_custom_id", 1, "custom_id")]),
        (b'{"custom_id": "\xff"}\n', [("invalid_json_line", 1, None)]),
        (jsonl([line("a", "x" * 5000), line("b")]), [("line_too_large", 1, None)]),
        (jsonl([line(str(n)) for n in range(12)]), [("too_many_tasks", 11, None)]),
    ],
)
async def test_an_invalid_file_fails_its_batch_with_the_line(
    tmp_path: Path, content: bytes, errors: list[tuple[str, int | None, str | None]]
):
    engine = EchoEngine()
    async with batch_client(tmp_path, engine, max_batch_lines=10, max_body_bytes=4000) as client:
        batch = await until(client, await new_batch(client, content))
        assert batch["status"] == "failed" and batch["failed_at"] is not None
        found = [(entry["code"], entry["line"], entry["param"]) for entry in batch["errors"]["data"]]
        assert found == errors and batch["errors"]["object"] == "list"
        assert batch["output_file_id"] is None and batch["request_counts"]["total"] == 0
    assert not engine.answered


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"input_file_id": "\0"}, "input_file_id"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_a_wrong_field_of_a_batch_is_refused(tmp_path: Path, fields: dict[str, Any], param: str):
    async with batch_client(tmp_path) as client:
        body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": "file-x", **fields}
        reply = await client.post("/v1/batches", json=body)
        assert reply.status_code == 400 and reply.json()["error"]["param"] == param, reply.text


async def test_only_a_file_for_batches_is_taken_and_it_stays_while_it_is_read(tmp_path: Path):
    engine = EchoEngine(is_open=False)
    async with batch_client(tmp_path, engine) as client:
        data, files = {"purpose": "user_data"}, {"file": ("a", GOOD)}
        other = (await client.post("/v1/files", data=data, files=files)).json()["id"]
        body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": other}
        error = refusal(await client.post("/v1/batches", json=body), 400, "invalid_value")
        assert error["param"] == "input_file_id" and "user_data" in error["message"]
        batch = await new_batch(client, GOOD)
        path = f"/v1/files/{batch['input_file_id']}"
        refusal(await client.delete(path), 409, "file_in_use")
        engine.gate.set()
        await until(client, batch)
        assert (await client.delete(path)).json()["deleted"]


async def test_a_cancelled_batch_keeps_what_was_answered(tmp_path: Path):
    engine = EchoEngine(is_open=False)
    async with batch_client(tmp_path, engine, batch_concurrency=3) as client:
        created = await new_batch(client, jsonl([line(f"q{number}") for number in range(10)]))
        while engine.waiting < 3:
            await asyncio.sleep(0.01)
        cancelling = (await client.post(f"/v1/batches/{created['id']}/cancel")).json()
        assert cancelling["status"] == "cancelling" and cancelling["cancelling_at"] is not None
        assert (await client.post(f"/v1/batches/{created['id']}/cancel")).json()["status"] == "cancelling"
        engine.gate.set()
        batch = await until(client, created)
        assert batch["status"] == "cancelled" and batch["cancelled_at"] is not None
        assert batch["request_counts"] == {"total": 10, "completed": 3, "failed": 7}
        assert len(await records(client, batch["output_file_id"])) == 3
        left = await records(client, batch["error_file_id"])
        assert {record["error"]["code"] for record in left} == {"batch_cancelled"} and len(left) == 7
        assert sum(engine.answered.values()) == 3
        done = await until(client, await new_batch(client, GOOD))
        refusal(await client.post(f"/v1/batches/{done['id']}/cancel"), 409, "batch_not_cancellable")


async def test_an_expired_batch_keeps_what_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.batches.batches.WINDOW_SECONDS", 1.5)
    engine = EchoEngine(is_open=False)
    async with batch_client(tmp_path, engine, batch_concurrency=2) as client:
        created = await new_batch(client, jsonl([line(f"q{number}") for number in range(5)]))
        await until(client, created, "finalizing")
        engine.gate.set()
        batch = await until(client, created)
        assert batch["status"] == "expired" and batch["expired_at"] is not None
        counts = batch["request_counts"]
        assert counts["total"] == 5 and counts["completed"] == engine.answered.total() <= 2
        left = await records(client, batch["error_file_id"])
        assert {record["error"]["code"] for record in left} == {"batch_expired"}
        assert len(left) == counts["failed"] == 5 - counts["completed"]


async def test_lines_run_within_the_concurrency_and_for_all_keys_in_turn(tmp_path: Path):
    engine = EchoEngine()
    async with batch_client(tmp_path, engine, batch_concurrency=2, api_keys=key_file(tmp_path)) as client:
        engine.gate.clear()
        batches = {
            name: await new_batch(client, jsonl([line(f"{name} {n}") for n in range(6)]), bearer(name))
            for name in ("first", "second")
        }
        while engine.waiting < 2:
            await asyncio.sleep(0.01)
        for name, batch in batches.items():
            await until(client, batch, "in_progress", headers=bearer(name))
        engine.gate.set()
        for name, batch in batches.items():
            assert (await until(client, batch, headers=bearer(name)))["status"] == "completed"
    assert engine.most_waiting == 2
    begun = [str(body["messages"][-1]["content"]).split()[0] for body in engine.bodies]
    assert begun[2:10].count("first") == begun[2:10].count("second") == 4


async def test_another_key_does_not_see_a_batch(tmp_path: Path):
    async with batch_client(tmp_path, api_keys=key_file(tmp_path)) as client:
        first, second = bearer("first"), bearer("second")
        created = await new_batch(client, GOOD, first)
        batch = await until(client, created, headers=first)
        one = f"/v1/batches/{batch['id']}"
        refusal(await client.get(one, headers=second), 404, "batch_not_found")
        refusal(await client.post(f"{one}/cancel", headers=second), 404, "batch_not_found")
        assert (await client.get("/v1/batches", headers=second)).json()["data"] == []
        assert (await client.get("/v1/batches", headers=first)).json()["data"] == [batch]
        output = f"/v1/files/{batch['output_file_id']}"
        refusal(await client.get(output, headers=second), 404, "file_not_found")
        body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": batch["input_file_id"]}
        refusal(await client.post("/v1/batches", json=body, headers=second), 400, "file_not_found")
        metrics = (await client.get("/metrics", headers=first)).text
        assert 'internvl3_tokens_total{key="first",kind="prompt_computed",model="policy"} 7.0' in metrics


async def test_the_rates_of_a_key_make_lines_wait_and_not_fail(tmp_path: Path):
    keys = key_file(tmp_path, first="concurrent_requests = 1", second="max_batches = 1")
    engine = EchoEngine()
    async with batch_client(tmp_path, engine, api_keys=keys) as client:
        first = bearer("first")
        created = await new_batch(client, jsonl([line(f"q{number}") for number in range(3)]), first)
        batch = await until(client, created, headers=first)
        assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
        assert engine.most_waiting == 1
        engine.gate.clear()
        second = bearer("second")
        blocked = await new_batch(client, GOOD, second)
        body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": blocked["input_file_id"]}
        reply = await client.post("/v1/batches", json=body, headers=second)
        assert refusal(reply, 429, "too_many_batches")["type"] == "requests"
        assert reply.headers["retry-after"] == "60"
        engine.gate.set()


async def status_is(client: httpx.AsyncClient, key: str, status: int) -> None:
    """Wait until requests with a key get a status, because the file of keys is looked at once in a second."""
    while (await client.get("/v1/models", headers=bearer(key))).status_code != status:
        await asyncio.sleep(0.05)


async def test_a_key_without_room_creates_no_batch(tmp_path: Path):
    async with batch_client(tmp_path, max_stored_bytes=len(GOOD)) as client:
        files = {"file": ("a", GOOD)}
        file = (await client.post("/v1/files", data={"purpose": "batch"}, files=files)).json()
        body = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": file["id"]}
        refusal(await client.post("/v1/batches", json=body), 413, "storage_quota_exceeded")


async def test_a_batch_whose_key_is_removed_fails_and_says_so(tmp_path: Path):
    keys = key_file(tmp_path)
    engine = EchoEngine(is_open=False)
    async with batch_client(tmp_path, engine, api_keys=keys, batch_concurrency=1) as client:
        content = jsonl([line(f"q{number}") for number in range(3)])
        created = await new_batch(client, content, bearer("first"))
        while not engine.waiting:
            await asyncio.sleep(0.01)
        whole = keys.read_text()
        keys.write_text(whole[whole.index("[keys.second]") :])
        await status_is(client, "first", 401)
        engine.gate.set()
        while 'outcome="abandoned"' not in (await client.get("/metrics", headers=bearer("second"))).text:
            await asyncio.sleep(0.05)
        keys.write_text(whole)
        await status_is(client, "first", 200)
        batch = await until(client, created, headers=bearer("first"))
        assert batch["status"] == "failed" and batch["request_counts"]["total"] == 3
        assert [entry["code"] for entry in batch["errors"]["data"]] == ["api_key_removed"]
        assert len(await records(client, batch["output_file_id"], bearer("first"))) == 1
        left = await records(client, batch["error_file_id"], bearer("first"))
        assert [record["error"]["code"] for record in left] == ["batch_failed"] * 2


async def test_a_busy_server_lets_a_line_wait_and_a_failing_critic_fails_it_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.batches.line_runner.LONGEST_WAIT", 0.0)
    engine = EchoEngine()
    busy = ApiError("busy", status=503, code="engine_busy")
    engine.refusals["patient"] = [busy] * 30
    engine.refusals["hopeless"] = [ApiError("no", status=503, code="critic_failed")] * 30
    async with batch_client(tmp_path, engine) as client:
        batch = await until(client, await new_batch(client, jsonl([line("patient"), line("hopeless")])))
        assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        (error,) = await records(client, batch["error_file_id"])
        assert error["custom_id"] == "hopeless" and error["response"]["status_code"] == 503
    assert len(engine.refusals["hopeless"]) == 10 and engine.answered["patient"] == 1


async def test_lines_may_ask_for_scores(tmp_path: Path):
    url = "/v1/critic/score"
    body = {"messages": [{"role": "user", "content": "How many?"}], "answers": ["good"]}
    content = jsonl([line("s") | {"url": url, "body": body}])
    async with batch_client(tmp_path) as client:
        batch = await until(client, await new_batch(client, content, endpoint=url))
        assert batch["status"] == "completed", batch
        (record,) = await records(client, batch["output_file_id"])
        assert record["response"]["body"]["scores"][0]["step_scores"] == [0.9]


async def test_lines_may_ask_for_text_completions(tmp_path: Path):
    url = "/v1/completions"
    lines = [
        line(name) | {"url": url, "body": {"model": "nano", "prompt": name, **extra}} for name, extra in TEXTS
    ]
    async with batch_client(tmp_path) as client:
        batch = await until(client, await new_batch(client, jsonl(lines), endpoint=url))
        assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        (record,) = await records(client, batch["output_file_id"])
        assert record["response"]["body"]["object"] == "text_completion"


async def test_a_server_that_is_leaving_begins_no_line(tmp_path: Path):
    engine = EchoEngine()
    app = app_with(engine, files=tmp_path / "files")
    app.state.running.is_leaving = True
    async with client_of(app) as client:
        created = await new_batch(client, GOOD)
        await until(client, created, "in_progress")
        for _ in range(3):  # its worker still looks for work
            assert (await until(client, await new_batch(client, b"invalid")))["status"] == "failed"
        assert not engine.answered
        app.state.running.is_leaving = False
        assert (await until(client, created))["status"] == "completed"


async def test_a_new_server_goes_on_where_the_old_one_stopped(tmp_path: Path):
    first = EchoEngine(is_open=False)
    async with batch_client(tmp_path, first, batch_concurrency=2) as client:
        created = await new_batch(client, jsonl([line(f"q{number}") for number in range(6)]))
        while first.waiting < 2:
            await asyncio.sleep(0.01)
    second = EchoEngine()
    async with batch_client(tmp_path, second) as client:
        batch = await until(client, created)
        assert batch["request_counts"] == {"total": 6, "completed": 6, "failed": 0}
    assert not first.answered and set(second.answered.values()) == {1}


async def test_batches_are_listed_in_pages_and_need_the_flag(tmp_path: Path):
    async with batch_client(tmp_path) as client:
        ids = [(await new_batch(client, GOOD))["id"] for _ in range(3)]
        first = (await client.get("/v1/batches", params={"limit": 2})).json()
        assert [entry["id"] for entry in first["data"]] == ids[:0:-1] and first["has_more"]
        rest = (await client.get("/v1/batches", params={"after": first["last_id"]})).json()
        assert [entry["id"] for entry in rest["data"]] == ids[:1] and not rest["has_more"]
        refusal(await client.get("/v1/batches", params={"limit": 101}), 400, "invalid_value")
