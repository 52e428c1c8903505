"""The schemas of the OpenAPI document have the fields that are answered, and nothing dangles."""

import json
import re

import jsonschema
import pytest

from server.protocol.engine_fields import REFUSED
from server.vllm_engine.api_schemas import api_schemas
from tests.server.apps import question

SCHEMAS = api_schemas()
REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')


def test_every_reference_leads_to_a_schema_and_none_is_idle():
    text = json.dumps(SCHEMAS)
    referred = set(REFERENCE.findall(text))
    assert referred <= SCHEMAS.keys()
    idle = SCHEMAS.keys() - referred
    assert all(name.endswith(("Request", "Response")) for name in idle), idle


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.endswith("Request")])
def test_no_refused_field_is_described(name: str):
    fields = SCHEMAS[name]["properties"].keys()
    assert fields and not fields & (REFUSED | {"request_id", "prompt_embeds", "background"})


def test_fields_and_reports_of_this_server_are_described():
    chat = SCHEMAS["ChatCompletionRequest"]["properties"]
    assert {"best_of", "test_time_scaling", "v2pe_delta", "media_io_kwargs", "messages"} <= chat.keys()
    assert "best_of" in SCHEMAS["ResponsesRequest"]["properties"]
    for name in ("CompletionRequest", "AnthropicMessagesRequest"):
        assert "best_of" not in SCHEMAS[name]["properties"], "it is refused there"
    for name in ("ChatCompletionResponse", "ResponsesResponse"):
        assert {"vision", "test_time_scaling"} <= SCHEMAS[name]["properties"].keys()


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (question(best_of=4, v2pe_delta="auto"), True),
        (question(test_time_scaling={"n": 4, "method": "weighted_vote"}, v2pe_delta=[0.5, 0.25]), True),
        (question(test_time_scaling={"m": 4}), False),
        (question(max_dynamic_patch=0), False),
        ({"model": "nano"}, False),
    ],
    ids=str,
)
def test_a_body_fits_its_schema(body, fits):
    schema = {"$ref": "#/components/schemas/ChatCompletionRequest", "components": {"schemas": SCHEMAS}}
    assert jsonschema.Draft202012Validator(schema).is_valid(body) is fits


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [("Once", True), ([5, 6], True), (["a"], True), ([[5]], True), ("", False), ([], False), (None, False)],
    ids=str,
)
def test_a_prompt_fits_as_it_is_answered(prompt, fits):
    schema = {"$ref": "#/components/schemas/CompletionRequest", "components": {"schemas": SCHEMAS}}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"prompt": prompt}) is fits and not validator.is_valid({})
