"""Only the nesting of a schema counts, not its size."""

from typing import Any

from server.vllm_engine.grammars.depth import is_deep


def test_a_schema_of_256_levels_and_many_words_is_not_deep():
    schema: Any = {"enum": ["word"] * 1000}
    for _ in range(254):
        schema = {"items": schema, "type": "array"}
    assert not is_deep(schema) and is_deep([schema])
