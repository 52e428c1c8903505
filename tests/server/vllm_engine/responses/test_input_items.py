"""Input items become the messages of a chat request, and a wrong item is named."""

from typing import Any

import pytest

from server.errors import ApiError
from server.vllm_engine.responses.input_items import chat_messages, continues_answer


def test_a_text_is_a_users_message():
    assert chat_messages(None, "Who?") == ([{"role": "user", "content": "Who?"}], [None])
    assert chat_messages("Be brief.", "Who?")[0][0] == {"role": "system", "content": "Be brief."}


def test_text_image_and_video_parts():
    content = [
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_video", "video_url": "https://example.org/a.mp4"},
        {"type": "input_text", "text": "What is it?"},
    ]
    (message,), origins = chat_messages(None, [{"role": "user", "content": content}])
    assert message == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"file_id": "file-1"}},
            {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
            {"type": "text", "text": "What is it?"},
        ],
    }
    assert origins == [0]


def test_a_conversation_with_tools_keeps_its_turns():
    """Reasoning and calls belong to one message of the assistant, as chat templates expect it."""
    messages, origins = chat_messages(
        "Be brief.",
        [
            {"type": "message", "role": "user", "content": "Weather?"},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": "here"}'},
            {"type": "function_call", "call_id": "c2", "name": "time", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Rain."},
            {
                "type": "function_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "Noon."}],
            },
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "It rains", "annotations": []},
                    {"type": "output_text", "text": " at noon.", "annotations": []},
                ],
            },
            {"role": "user", "content": "Thanks."},
        ],
    )
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    calls = messages[2]["tool_calls"]
    assert messages[2]["reasoning"] == "Hm." and [call["function"]["name"] for call in calls] == [
        "weather",
        "time",
    ]
    assert messages[3] == {"role": "tool", "tool_call_id": "c1", "content": "Rain."}
    assert messages[5] == {"role": "assistant", "content": "It rains at noon."}
    assert origins == [None, 0, 1, 4, 5, 6, 7]


WRONG: list[tuple[Any, str]] = [
    (None, "input"),
    ([], "input"),
    (5, "input"),
    (["text"], "input[0]"),
    ([{}], "input[0].type"),
    ([{"type": "item_reference", "id": "msg_1"}], "input[0].type"),
    ([{"type": "computer_call"}], "input[0].type"),
    ([{"role": "nobody", "content": "x"}], "input[0].role"),
    ([{"role": "tool", "content": "x"}], "input[0].role"),
    ([{"role": "user"}], "input[0].content"),
    ([{"role": "user", "content": []}], "input[0].content"),
    ([{"role": "user", "content": ["x"]}], "input[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "input_audio"}]}], "input[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}], "input[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
    (
        [{"role": "assistant", "content": [{"type": "input_image", "image_url": "x"}]}],
        "input[0].content[0].type",
    ),
    ([{"role": "user", "content": "x"}, {"type": "function_call", "name": "f"}], "input[1].arguments"),
    ([{"type": "function_call_output", "output": "x"}], "input[0].call_id"),
    ([{"type": "function_call_output", "call_id": "c", "output": 5}], "input[0].output"),
    ([{"type": "custom_tool_call", "call_id": "c", "name": "f"}], "input[0].input"),
    ([{"type": "reasoning", "encrypted_content": "x"}], "input[0].encrypted_content"),
    ([{"type": "reasoning", "summary": "x"}], "input[0].summary"),
    ([{"type": "reasoning", "summary": [{}]}], "input[0].summary[0]"),
    ([{"type": "reasoning", "content": [5]}], "input[0].content[0]"),
]


@pytest.mark.parametrize(("items", "param"), WRONG, ids=str)
def test_a_wrong_item_is_named(items: Any, param: str):
    with pytest.raises(ApiError) as refused:
        chat_messages(None, items)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("status", "continues"), [("incomplete", True), ("in_progress", True), ("completed", False)]
)
def test_an_unfinished_answer_is_continued(status: str, continues: bool):
    answer = {"type": "message", "role": "assistant", "content": "It", "status": status}
    assert continues_answer([{"role": "user", "content": "?"}, answer]) is continues
    assert not continues_answer([answer, {"role": "user", "content": "?"}]) and not continues_answer("?")
