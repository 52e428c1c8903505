"""A batch that runs on, and result files of another shape."""

import json
from typing import Any

import pytest

from clients.sdk.batches.objects import Batch
from clients.sdk.client import Client
from clients.sdk.errors import ClientError
from tests.clients.chat_server import completion
from tests.clients.raw_server import raw_server

RUNNING = {"id": "batch-1", "status": "in_progress", "endpoint": "/v1/chat/completions"}
ENDED = Batch.model_validate({**RUNNING, "status": "expired", "output_file_id": "o", "error_file_id": "e"})


def results_of(output: str, errors: str) -> Any:
    with (
        raw_server(lambda server: [server.replies(output), server.replies(errors)]) as server,
        Client(server.url) as client,
    ):
        return client.batches.results(ENDED)


def test_waiting_has_an_end_of_its_own() -> None:
    with (
        raw_server(lambda server: [server.replies(json.dumps(RUNNING))]) as server,
        Client(server.url) as client,
        pytest.raises(ClientError, match="not ended within 0 s; it goes on at the server"),
    ):
        client.batches.wait("batch-1", max_seconds=0)


def test_lines_that_were_never_answered_have_an_error() -> None:
    answered = {
        "custom_id": "a",
        "response": {"status_code": 200, "body": completion("a\u2028b")},
        "error": None,
    }
    score = {"custom_id": "s", "response": {"status_code": 200, "body": {"scores": []}}, "error": None}
    left = {"custom_id": "b", "response": None, "error": {"code": "batch_expired", "message": "Too late."}}
    output = "\n".join(json.dumps(line, ensure_ascii=False) for line in (answered, score))
    first, scored, second = results_of(output, json.dumps(left) + "\n")
    assert first.answer is not None and first.answer.text == "a\u2028b"
    assert (scored.answer, scored.error, scored.body) == (None, None, {"scores": []})
    assert second.answer is None and second.body is None
    assert (second.error.code, second.error.message) == ("batch_expired", "Too late.")


@pytest.mark.parametrize("output", ["no json", "[]", '{"custom_id": "a", "response": {"status_code": 200}}'])
def test_a_result_of_another_shape_is_an_error_of_the_clients(output: str) -> None:
    with pytest.raises(ClientError, match="no file of results"):
        results_of(output, "")


def test_the_list_goes_over_all_pages() -> None:
    pages = [
        json.dumps({"data": [{**RUNNING, "id": "a"}, {**RUNNING, "id": "b"}], "has_more": True}),
        json.dumps({"data": [{**RUNNING, "id": "c"}], "has_more": False}),
    ]
    with (
        raw_server(lambda server: [server.replies(page) for page in pages]) as server,
        Client(server.url) as client,
    ):
        assert [batch.id for batch in client.batches.list()] == ["a", "b", "c"]
    assert b"after=b" in server.requests[1].split(b"\r\n")[0]
