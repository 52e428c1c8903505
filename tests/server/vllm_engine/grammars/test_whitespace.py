"""White space in the JSON of structural tags is limited, and what a tag says about it itself stays."""

import json

import pytest

from server.vllm_engine.grammars.whitespace import limit_tag_whitespace


def test_every_json_part_of_a_tag_is_limited():
    schema = {"type": "object", "properties": {"type": {"const": "json_schema"}}}
    own = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 7}
    part = {"type": "json_schema", "json_schema": schema}
    tag = {
        "type": "structural_tag",
        "format": {"type": "sequence", "elements": [part, {"type": "tag", "content": part}, own]},
    }
    first, second, third = json.loads(limit_tag_whitespace(json.dumps(tag)))["format"]["elements"]
    assert first == {**part, "max_whitespace_cnt": 1} == second["content"], "and the schema is unchanged"
    assert third == own


@pytest.mark.parametrize("tag", ["no JSON", "[" * 100_000])
def test_what_is_no_tag_is_left_to_vllm(tag: str):
    assert limit_tag_whitespace(tag) == tag
