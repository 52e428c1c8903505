"""Which fields of a Messages request are answered and refused."""

import pytest
from vllm.entrypoints.anthropic.protocol import AnthropicCountTokensRequest, AnthropicMessagesRequest

from server.errors import ApiError
from server.protocol.message_fields import RULES, message_fields
from tests.server.apps import settings


def test_every_field_of_vllms_requests_is_known():
    """A new vLLM has new fields: each is passed or refused, and somebody has decided which."""
    known = set(AnthropicMessagesRequest.model_fields) | set(AnthropicCountTokensRequest.model_fields)
    assert known - RULES.passed - RULES.refused == set()
    assert (RULES.passed | RULES.refused) - known == {"request_id"}, "which is ours to give"
    assert RULES.passed.isdisjoint(RULES.refused)


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"test_time_scaling": {"n": 2}}, "test_time_scaling"),
        ({"model": "nano:bo8"}, "model"),
        ({"vllm_xargs": {"x": 1}}, "vllm_xargs"),
        ({"model": "claude"}, "model"),
        ({"max_dynamic_patches": 1}, "max_dynamic_patches"),
    ],
)
def test_what_this_api_does_not_have_is_refused(field, param):
    with pytest.raises(ApiError) as refused:
        message_fields({"model": "nano", "messages": [], "max_tokens": 1, **field}, settings())
    assert refused.value.param == param


def test_our_fields_stay():
    body = {"model": "nano", "messages": [], "max_tokens": 1, "v2pe_delta": 0.25, "best_of": 1, "x": 1}
    assert message_fields(body, settings()) == {
        "model": "nano",
        "messages": [],
        "max_tokens": 1,
        "v2pe_delta": 0.25,
    }
