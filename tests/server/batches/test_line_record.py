"""Each line of a batch has a line in the log, a trace, and a priority behind all requests."""

import logging
from pathlib import Path
from typing import Any

import pytest

from server.errors import ApiError
from tests.otlp_receiver import attributes, receiving
from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeCritic, FakeEngine

from .echo import CHAT, EchoEngine, batch_client, jsonl, line, new_batch, records, until

SECRET = "hush4711"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [vars(record) for record in caplog.records if record.getMessage().startswith("BATCH ")]
    return [record["fields"] | {"text": record["message"]} for record in found]


async def test_the_log_has_a_line_for_each_result(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    async with batch_client(tmp_path) as client:
        sent = [line("good", SECRET), line("bad", SECRET, best_of=SECRET)]
        batch = await until(client, await new_batch(client, jsonl(sent)))
        (result,) = await records(client, batch["output_file_id"])
    good, bad = sorted(lines_of(caplog), key=lambda entry: entry["line"])
    assert (good["status"], good["route"], good["batch"], good["line"]) == (200, CHAT, batch["id"], 1)
    assert good["request_id"] == result["id"] and good["seconds"] >= 0
    known = ("key", "model", "prompt_tokens", "completion_tokens", "stop")
    assert [good[name] for name in known] == ["anonymous", "nano", 7, 2, "stop"]
    assert (bad["status"], bad["code"], bad["param"]) == (400, "invalid_value", "best_of")
    assert good["text"].startswith(f"BATCH {CHAT} 200 ") and f"line 1 of {batch['id']}" in good["text"]
    assert SECRET not in caplog.text


async def test_a_line_that_goes_back_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    engine = EchoEngine()
    engine.refusals["wait"] = [ApiError("busy", status=503, code="engine_busy", retry_after=0)]
    async with batch_client(tmp_path, engine) as client:
        await until(client, await new_batch(client, jsonl([line("wait")])))
    first, second = lines_of(caplog)
    assert first["end"] == "given back" and first["code"] == "engine_busy" and "status" not in first
    assert second["status"] == 200 and "end" not in second and first["request_id"] != second["request_id"]


async def test_each_line_is_a_trace_to_which_its_work_belongs(tmp_path: Path):
    with receiving() as receiver:
        engine = FakeEngine([SECRET], FakeCritic({SECRET: [0.5]}))
        async with batch_client(tmp_path, engine, otlp_endpoint=receiver.url) as client:
            await until(client, await new_batch(client, jsonl([line("a", best_of=2), line("b", n="x")])))
    first, second = sorted(receiver.named(f"BATCH {CHAT}"), key=lambda span: len(span.attributes))
    refused, scaled = (first, second) if "error.type" in attributes(first) else (second, first)
    assert not scaled.parent_span_id and scaled.trace_id != refused.trace_id
    assert {span.parent_span_id for span in receiver.named("score")} == {scaled.span_id}
    assert attributes(scaled)["http.response.status_code"] == 200
    assert attributes(refused)["error.type"] == "invalid_value"
    assert SECRET not in str(receiver.spans)


async def test_the_critic_takes_lines_after_requests(tmp_path: Path):
    lines, requests = FakeCritic({"yes": [0.5]}), FakeCritic({"yes": [0.5]})
    async with batch_client(tmp_path, FakeEngine(["yes"], lines)) as client:
        await until(client, await new_batch(client, jsonl([line("a", best_of=2)])))
    async with client_of(app_with(FakeEngine(["yes"], requests))) as client:
        assert (await client.post(CHAT, json=question(best_of=2))).status_code == 200
    assert {conversation.priority for conversation in lines.conversations} == {1}
    assert {conversation.priority for conversation in requests.conversations} == {0}
