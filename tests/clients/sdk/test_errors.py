"""An ApiError holds OpenAI's error body, or quotes what a proxy sent instead."""

import pytest

from clients.sdk.errors import api_error


def test_openais_error_body_is_carried() -> None:
    error = api_error(
        400, b'{"error": {"message": "Too big.", "type": "t", "param": "best_of", "code": "c"}}'
    )
    assert (error.status, error.message, error.type, error.param, error.code) == (
        400,
        "Too big.",
        "t",
        "best_of",
        "c",
    )
    assert str(error) == "Too big. (HTTP 400, field best_of)"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<h1>Bad\n gateway</h1>", "<h1>Bad gateway</h1> (HTTP 502)"),
        (b'{"detail": "no"}', '{"detail": "no"} (HTTP 502)'),
        (b'["error"]', '["error"] (HTTP 502)'),
        (b"", "the server sent an empty reply (HTTP 502)"),
        (b"\xff" + b"x" * 1000, "\ufffd" + "x" * 199 + " (HTTP 502)"),
    ],
)
def test_the_reply_of_a_proxy_is_quoted(body: bytes, text: str) -> None:
    assert str(api_error(502, body)) == text
