"""Which fields of a Responses request are answered, left out and refused."""

import pytest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from server.errors import ApiError
from server.protocol.engine_fields import engine_fields
from server.protocol.response_fields import OUR_FIELDS, RULES, response_fields

OPENAI_ONLY = {"conversation"}  # vLLM's type doesn't know it, and would leave it out without a word


def test_every_field_of_vllms_request_is_known():
    """A new vLLM has new fields: each is passed, refused or ours, and somebody has decided which."""
    known = set(ResponsesRequest.model_fields)
    assert known - RULES.passed - RULES.refused - set(OUR_FIELDS) == set()
    assert RULES.passed - known == set()
    assert RULES.refused - known == OPENAI_ONLY
    assert RULES.passed.isdisjoint(RULES.refused)


@pytest.mark.parametrize(
    "field",
    [
        {"background": True},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "p"}},
        {"vllm_xargs": {"x": 1}},
        {"priority": -1},
    ],
    ids=lambda field: next(iter(field)),
)
def test_what_needs_a_store_or_steers_the_engine_is_refused(field):
    with pytest.raises(ApiError, match="not supported") as refused:
        engine_fields({"input": "Who?", **field}, OUR_FIELDS, RULES)
    assert refused.value.param == next(iter(field))


def test_a_misspelt_field_of_ours_is_named():
    with pytest.raises(ApiError, match="Did you mean test_time_scaling"):
        engine_fields({"input": "Who?", "testTimeScaling": {}}, OUR_FIELDS, RULES)


def test_the_tools_of_namespaces_count():
    """vLLM's types would check each of 100,000 against all kinds of tools."""
    namespace = {"type": "namespace", "name": "n", "tools": [{"type": "function"}] * 127}
    assert response_fields({"tools": [namespace]})
    with pytest.raises(ApiError, match="128 tools, not 129") as refused:
        response_fields({"tools": [namespace, {"type": "function"}]})
    assert refused.value.code == "too_many_tools"
