"""Errors of the chat path name the fields of the API that the client has used."""

from server.errors import ApiError
from server.protocol.field_names import renamed


def test_message_and_param_name_the_other_apis_fields():
    error = ApiError(
        "The prompt of messages is too long: lower max_tokens, not max_tokens_total.",
        status=413,
        param="messages[0].content",
        code="x",
        can_retry=False,
        retry_after=7,
        kind="k",
    )
    other = renamed(error, {"messages": "input", "max_tokens": "max_output_tokens"})
    assert other.message == (
        "The prompt of input is too long: lower max_output_tokens, not max_tokens_total."
    )
    assert other.param == "input[0].content"
    assert (other.status, other.code, other.can_retry, other.retry_after, other.kind) == (
        413,
        "x",
        False,
        7,
        "k",
    )


def test_an_error_without_a_field_stays_without():
    assert renamed(ApiError("No."), {"messages": "input"}).param is None
