"""Whatever refuses a request on Anthropic's paths does it in Anthropic's form, and elsewhere in OpenAI's."""

from typing import Any

import pytest

from server.errors import ApiError, not_ready
from tests.server.apps import app_with, client_of
from tests.server.fakes import FakeEngine

BODY = {"model": "nano", "max_tokens": 1, "messages": [{"role": "user", "content": "?"}]}


class Failing(FakeEngine):
    """Its conversions fail as the test says."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(["yes"])
        self.failure = failure

    def convert_message(self, body: Any, *, counts_tokens: bool) -> Any:
        raise self.failure

    def convert_response(self, body: Any) -> Any:
        raise self.failure


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a bug": ({}, 500, "api_error"),
    "another content type": ({"headers": {"Content-Type": "text/plain"}}, 415, "invalid_request_error"),
    "no JSON": ({"content": b"{", "json": None}, 400, "invalid_request_error"),
    "another host": ({"headers": {"Host": "evil.example"}}, 421, "invalid_request_error"),
    "another method": ({"method": "PUT"}, 405, "invalid_request_error"),
    "a field": ({"json": {**BODY, "best_of": 4}}, 400, "invalid_request_error"),
    "a model": ({"json": {**BODY, "model": "claude"}}, 404, "not_found_error"),
}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("name", REFUSALS)
async def test_messages_are_refused_in_anthropics_form(path: str, name: str):
    changed, status, kind = REFUSALS[name]
    asked: dict[str, Any] = {"method": "POST", "json": BODY, **changed}
    if asked["json"] is None:
        asked |= {"headers": {"Content-Type": "application/json"}}
    async with client_of(app_with(Failing(RuntimeError("a bug")))) as client:
        reply = await client.request(url=path, **asked)
    body = reply.json()
    assert (reply.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == reply.headers["x-request-id"] and body["error"]["message"]


async def test_unknown_paths_below_it_are_anthropics_too():
    async with client_of(app_with(Failing(RuntimeError()))) as client:
        assert (await client.post("/v1/messages/batches")).json()["error"]["type"] == "not_found_error"
        assert (await client.post("/v1/nothing")).json()["error"]["code"] == "unknown_url"


async def test_a_failure_that_may_pass_says_when_to_retry():
    async with client_of(app_with(Failing(not_ready()))) as client:
        reply = await client.post("/v1/messages", json=BODY)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "overloaded_error")
    assert reply.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("failure", "code"), [(ApiError("No.", code="x"), "x"), (RuntimeError("a bug"), "internal_error")]
)
async def test_responses_are_refused_in_openais_form(failure: Exception, code: str):
    async with client_of(app_with(Failing(failure))) as client:
        reply = await client.post("/v1/responses", json={"model": "nano", "input": "?"})
    assert reply.json()["error"]["code"] == code
