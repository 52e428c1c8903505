"""Questions with known answers are read from the pipeline's form and from conversations."""

from typing import Any

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.questions import Question, parse_question


def chat(*turns: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": text} for who, text in turns], **fields}


def test_fields() -> None:
    data = {"image": ["a.png", "b.png"], "question": "1+1?", "answer": "2", "mode": "math", "id": 7}
    assert parse_question(data) == Question(text="1+1?", answer="2", images=("a.png", "b.png"), mode="math")


def test_numbers_are_answers() -> None:
    assert parse_question({"question": "1+1?", "answer": 2}).answer == "2"
    assert parse_question({"question": "1/2?", "answer": 0.5}).answer == "0.5"


@pytest.mark.parametrize("reply", ["4", "2 and 2 are 4.\n\nFinal answer: 4", "So it is \\boxed{4}."])
def test_a_conversation_s_answer_is_what_its_reply_states(reply: str) -> None:
    data = chat(("system", "Be brief."), ("human", "<video>\n2+2?"), ("gpt", reply), video="a.mp4")
    assert parse_question(data) == Question(text="<video>\n2+2?", answer="4", video="a.mp4")


def test_several_turns_are_one_question() -> None:
    question = parse_question(chat(("human", "1+1?"), ("gpt", "2"), ("human", "And 1 more?"), ("gpt", "3")))
    assert question == Question(text="User: 1+1?\n\nAssistant: 2\n\nUser: And 1 more?", answer="3")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"question": "1+1?"}, "'answer'"),
        ({"question": "1+1?", "answer": True}, "'answer'"),
        ({"question": " ", "answer": "2"}, "'question'"),
        ({"question": "1+1?", "answer": "2", "mode": "close"}, "'mode'"),
        ({"question": "1+1?", "answer": "2", "image": "a.png", "video": "a.mp4"}, "keep one"),
        (chat(("human", "1?"), ("gpt", "1"), ("human", "2?")), "end it so"),
        (chat(("human", "Why?"), ("gpt", "Because.\nIt is so.")), "no answer"),
    ],
)
def test_the_error_names_what_is_wrong(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_question(data)
