"""The request that vLLM gets: its system message, its limits, and its room for an answer."""

from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.errors import ApiError
from server.vllm_engine.policy.engine_request import (
    lower_max_tokens,
    prepend_system_message,
    read_request,
    with_room,
)

QUESTION = {"role": "user", "content": "Who?"}


def test_it_comes_first():
    assert prepend_system_message([QUESTION], "Be brief.") == [
        {"role": "system", "content": "Be brief."},
        QUESTION,
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Be long.", ""])
def test_a_requests_own_wins_wherever_it_stands(role, content):
    system_message = {"role": role, "content": content}
    assert prepend_system_message([system_message, QUESTION], "Be brief.") == [system_message, QUESTION]
    assert prepend_system_message([QUESTION, system_message], "Be brief.") == [QUESTION, system_message]


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_to_put_in_front(nothing):
    assert prepend_system_message([QUESTION], nothing) == [QUESTION]


def test_auto_keeps_room_for_an_answer_without_a_limit():
    """64 frames once left 33 of 32,768 positions for the answer."""
    for window, answer, reserve in (
        (32_768, None, 2048),
        (8192, None, 1024),
        (8192, 5, 5),
        (8192, 9999, 1024),
    ):
        kept = {"v2pe_delta": "auto", "v2pe_reserve": reserve, "v2pe_growth": window // 8}
        assert with_room({"v2pe_delta": "auto"}, window, answer) == kept
    limited = {"v2pe_delta": "auto", "v2pe_max_tokens": 5}
    assert with_room(limited, 8192) == {**limited, "v2pe_growth": 1024}
    for vision in (None, {}, {"v2pe_delta": 0.25}):
        assert with_room(vision, 8192) == vision


@pytest.mark.parametrize(
    ("field", "value"),
    [("structured_outputs", 5), ("messages", [{"role": "assistant", "tool_calls": 5}])],
)
def test_a_field_that_breaks_vllms_validators_is_named(field: str, value: Any):
    with pytest.raises(ApiError) as refusal:
        read_request({"model": "nano", "messages": [QUESTION], field: value}, ChatCompletionRequest)
    assert (refusal.value.status, refusal.value.param) == (400, field)


@pytest.mark.parametrize(
    "detection", [{"max_pattern_size": 4}, {"max_pattern_size": 1, "min_pattern_size": 2, "min_count": 3}]
)
def test_a_refusal_of_vllms_that_names_no_field_gets_it(detection: Any):
    body = {"messages": [QUESTION], "seed": 1, "repetition_detection": detection}
    with pytest.raises(ApiError) as refusal:
        read_request(body, ChatCompletionRequest)
    assert (refusal.value.status, refusal.value.param) == (400, "repetition_detection")


def test_a_limit_of_the_answer_is_only_ever_lowered():
    assert lower_max_tokens({"max_tokens": 10**30, "n": 9999}, 4096) == {"max_tokens": 4096, "n": 9999}
    both = {"max_tokens": None, "max_completion_tokens": 5}
    assert lower_max_tokens(both, 4096) == both
