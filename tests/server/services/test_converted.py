"""Requests of the Responses API are answered as chat requests: over HTTP, as streams, and in batches."""

import logging
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from server.vllm_engine.responses.conversion import ResponseConversion
from tests.server.apps import app_with, client_of
from tests.server.batches.echo import EchoEngine, batch_client, jsonl, new_batch, records, until

PATH = "/v1/responses"
BODY = {"model": "nano", "input": "Who?"}


class Converting(EchoEngine):
    """Answers with the question, also as a stream, which ends because the answer is as long as it may be."""

    def convert_response(self, body: Mapping[str, Any]) -> ResponseConversion:
        return ResponseConversion(body, sampling={}, most_tokens=100)

    async def stream(
        self, body: Mapping[str, Any], choose: Any = None, *, media: Any, count: Any
    ) -> AsyncGenerator[str, None]:
        async def events() -> AsyncGenerator[str, None]:
            begin = '"id":"a","object":"chat.completion.chunk","created":1,"model":"nano"'
            yield f'data: {{{begin},"choices":[{{"index":0,"delta":{{"content":"yes"}}}}]}}\n\n'
            yield f'data: {{{begin},"choices":[{{"index":0,"delta":{{}},"finish_reason":"length"}}]}}\n\n'
            yield "data: [DONE]\n\n"

        return events()


async def test_the_log_has_the_stop_reason_of_a_stream(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    async with client_of(app_with(Converting())) as client:
        reply = await client.post(PATH, json={**BODY, "stream": True})
    assert reply.status_code == 200 and "response.incomplete" in reply.text
    (line,) = [record.getMessage() for record in caplog.records if f"POST {PATH} 200" in record.getMessage()]
    assert line.endswith("stop=length")


async def test_a_batch_has_responses(tmp_path: Path):
    line = {"custom_id": "a", "method": "POST", "url": PATH, "body": BODY}
    async with batch_client(tmp_path, Converting()) as client:
        batch = await until(client, await new_batch(client, jsonl([line]), endpoint=PATH))
        (record,) = await records(client, batch["output_file_id"])
    response = record["response"]["body"]
    assert response["object"] == "response" and response["output"][0]["content"][0]["text"]
