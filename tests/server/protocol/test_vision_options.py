"""The vision fields of a request are checked and passed on to the processor."""

from typing import Any

import pytest

from server.errors import ApiError
from server.protocol.chat_call import ChatCall, parse_call
from tests.server.apps import question, settings


def parse(**fields: Any) -> ChatCall:
    return parse_call(question(**fields), settings())


@pytest.mark.parametrize("delta", [0.25, "auto", [0.25, 1, 0.5]])
@pytest.mark.parametrize("nested", [True, False])
def test_deltas_reach_the_processor(delta: Any, nested: bool):
    fields = {"v2pe_delta": delta, "max_dynamic_patch_total": 24}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [{"role": "user", "content": [image] * 3}]
    chosen = {"mm_processor_kwargs": fields} if nested else fields
    call = parse(messages=messages, **chosen)
    passed = call.body["mm_processor_kwargs"]
    assert passed["max_dynamic_patch_total"] == 24
    assert passed["v2pe_delta"] == (tuple(delta) if isinstance(delta, list) else delta)
    assert "v2pe_delta" not in call.body and "max_dynamic_patch_total" not in call.body


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"v2pe_delta": [1, 2]}, "number above 0 and at most 1, not 2"),
        ({"v2pe_delta": [1, "auto"]}, "send it alone, not in a list"),
        ({"v2pe_delta": {"a": 1}}, "v2pe_delta must be"),
        ({"max_dynamic_patch_total": 0}, "max_dynamic_patch_total"),
        ({"max_dynamic_patch_total": 1.5}, "max_dynamic_patch_total"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(fields: dict[str, Any], message: str):
    with pytest.raises(ApiError, match=message) as refused:
        parse(**fields)
    assert refused.value.param in fields
