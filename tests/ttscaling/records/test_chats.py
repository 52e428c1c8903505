"""Conversations in the form that InternVL's guide to chat data shows."""

from typing import Any

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.chats import ChatRecord, Turn, chat_json, parse_chat

QUESTION = {"from": "human", "value": "<image>\nWhat is it?"}
REPLY = {"from": "gpt", "value": "A cat."}


def record(**fields: Any) -> dict[str, Any]:
    return {"conversations": [QUESTION, REPLY], **fields}


def test_one_image() -> None:
    data = record(id=7, image="a/b.png", width=20, height=30)
    assert parse_chat(data) == ChatRecord(
        turns=(Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A cat.")),
        images=("a/b.png",),
        extra={"id": 7, "width": 20, "height": 30},
    )


@pytest.mark.parametrize(
    "data",
    [
        record(id=0, image="a.png"),
        record(image=["a.png", "b.png"], width_list=[1, 2]),
        record(video="a.mp4"),
        record(),
        {
            "conversations": [{"from": "system", "value": "Be brief."}, QUESTION, REPLY, QUESTION, REPLY],
            "id": -1,
        },
        {"conversations": [REPLY]},
    ],
)
def test_written_as_read(data: dict[str, Any]) -> None:
    parsed = parse_chat(data)
    assert chat_json(parsed) == data
    assert parse_chat(chat_json(parsed)) == parsed


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_image_is_none(empty: Any) -> None:
    assert parse_chat(record(image=empty)).images == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "'conversations' is missing"),
        ({"conversations": []}, "'conversations' is missing"),
        ({"conversations": [QUESTION]}, "no 'gpt' turn"),
        ({"conversations": [QUESTION, {"from": "gpt", "value": "  "}]}, "no 'gpt' turn"),
        ({"conversations": [QUESTION, {"from": "bot", "value": "x"}]}, "a turn is"),
        ({"conversations": [QUESTION, {"from": "gpt", "value": None}]}, "a turn is"),
        ({"conversations": [QUESTION, "hello"]}, "a turn is"),
        ({"conversations": [QUESTION, {"from": ["gpt"], "value": "x"}]}, "a turn is"),
        ({"conversations": [QUESTION, REPLY, {"from": "system", "value": "x"}]}, "only be the first"),
        (record(image=3), "'image' is neither"),
        (record(image=["a.png", None]), "'image' is neither"),
        (record(image="a.png", video="b.mp4"), "both 'image' and 'video'"),
        (record(video=["b.mp4"]), "'video' is a list"),
        (record(video="b.mp4", clip=[0, 3]), "'clip'"),
    ],
)
def test_the_error_names_what_is_wrong(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_chat(data)
