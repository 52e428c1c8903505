"""Each path has the errors of its API, as the clients of that API expect them."""

import json

import pytest

from server.errors import ApiError
from server.protocol.error_forms import error_content, error_events
from server.protocol.event_stream import is_error

ERROR = ApiError("It is too much.", param="n", code="x")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages-of-mine", "/"])
def test_most_paths_have_openais_body(path):
    assert error_content(ERROR, path, "r1") == ERROR.body


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/x"])
def test_messages_have_anthropics_body_which_names_the_field(path):
    assert error_content(ERROR, path, "r1") == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "n: It is too much."},
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_anthropics_types_follow_from_the_status(status, kind):
    assert error_content(ApiError("?", status=status), "/v1/messages")["error"]["type"] == kind


def test_streams_end_with_the_event_of_their_api():
    chat, response, message = (
        error_events(ERROR, path) for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages")
    )
    assert all(map(is_error, (chat, response, message)))
    assert chat.endswith("data: [DONE]\n\n")
    for event in (response, message):
        name, data = event.split("\ndata: ")
        assert name == "event: error" and json.loads(data)["type"] == "error" and "[DONE]" not in event
    body = json.loads(response.split("\ndata: ")[1])
    assert (body["param"], body["code"], body["error"]["message"]) == ("n", "x", body["message"])
