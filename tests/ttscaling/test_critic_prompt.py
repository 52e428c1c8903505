import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.critic_prompt import critic_prefixes, label_probability
from ttscaling.types import Conversation, CriticError, Message

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
STEPS = ("Row 1: 3, 4.", "3 + 4 = 7.", "Final answer: 7")


def chat(*messages: Message) -> Conversation:
    return Conversation(messages=messages, mm_processor_kwargs={})


def rendered(prefix: tuple[Message, ...]) -> str:
    """Return the prefix as InternVL's chat template writes it."""
    text = ""
    for message in prefix:
        parts = message["content"]
        if not isinstance(parts, str):
            parts = "".join(part["text"] if part["type"] == "text" else "<image>\n" for part in parts)
        text += f"<|im_start|>{message['role']}\n{parts}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


def test_the_prompt_is_visualprms() -> None:
    question = {"role": "user", "content": [IMAGE, {"type": "text", "text": "Sum of row 1?"}]}
    first, second, third = critic_prefixes(chat(question), STEPS)
    expected = (
        "<|im_start|>user\n### Question:\n<image>\nSum of row 1?\n\n### Solution Process:\nRow 1: 3, 4."
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered(first) == expected
    expected += "+<|im_end|>\n<|im_start|>user\n3 + 4 = 7.<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(second) == expected
    expected += "+<|im_end|>\n<|im_start|>user\nFinal answer: 7<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(third) == expected


def test_images_stay_where_the_question_has_them() -> None:
    question = {"role": "user", "content": [{"type": "text", "text": "Left: "}, IMAGE, IMAGE]}
    (prefix,) = critic_prefixes(chat(question), ["It is a cat."])
    assert prefix[0]["content"] == [
        {"type": "text", "text": "### Question:\nLeft: "},
        IMAGE,
        IMAGE,
        {"type": "text", "text": "\n\n### Solution Process:\nIt is a cat."},
    ]


def test_a_question_without_images_is_a_string() -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "3 + 4?"}]
    for content in ("What is 3 + 4?", parts):
        (prefix,) = critic_prefixes(chat({"role": "user", "content": content}), ["7"])
        assert prefix == (
            {"role": "user", "content": "### Question:\nWhat is 3 + 4?\n\n### Solution Process:\n7"},
        )


def test_a_chat_of_several_turns_is_one_question_with_its_images() -> None:
    (prefix,) = critic_prefixes(
        chat(
            {"role": "system", "content": "Answer in steps."},
            {"role": "user", "content": [IMAGE, {"type": "text", "text": "Sum of row 1?"}]},
            {"role": "assistant", "content": "7"},
            {"role": "user", "content": "And of row 2?"},
        ),
        ["9"],
    )
    assert prefix[0]["content"] == [
        {"type": "text", "text": "### Question:\nUser: "},
        IMAGE,
        {
            "type": "text",
            "text": "Sum of row 1?\n\nAssistant: 7\n\nUser: And of row 2?\n\n### Solution Process:\n9",
        },
    ]


def test_the_critics_own_system_message_comes_first() -> None:
    question = {"role": "user", "content": "q"}
    judge = {"role": "system", "content": "Judge."}
    assert all(prefix[0] == judge for prefix in critic_prefixes(chat(question), STEPS, system="Judge."))


def test_a_prompt_without_a_question_or_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no user message"):
        critic_prefixes(chat({"role": "system", "content": "s"}), STEPS)
    with pytest.raises(ValueError, match="no steps"):
        critic_prefixes(chat({"role": "user", "content": "q"}), [])


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_prefixes_nest_and_every_assistant_slot_is_plus(steps: list[str]) -> None:
    prefixes = critic_prefixes(chat({"role": "user", "content": "q"}), steps)
    assert len(prefixes) == len(steps)
    for number, prefix in enumerate(prefixes):
        assert prefix == prefixes[-1][: 2 * number + 1]
        assert [message["role"] for message in prefix] == (["user", "assistant"] * (number + 1))[:-1]
        assert all(message["content"] == "+" for message in prefix if message["role"] == "assistant")


@given(st.floats(-1e300, 0), st.floats(-1e300, 0))
def test_the_score_is_a_probability(plus: float, minus: float) -> None:
    score = label_probability(plus, minus)
    assert 0 <= score <= 1
    assert math.isclose(score + label_probability(minus, plus), 1)
    assert score >= 0.5 if plus >= minus else score <= 0.5


def test_the_score_ignores_all_other_tokens() -> None:
    assert math.isclose(label_probability(math.log(0.03), math.log(0.01)), 0.75)
    assert label_probability(-math.inf, -1.0) == 0
    assert label_probability(-1.0, -math.inf) == 1


@pytest.mark.parametrize(("plus", "minus"), [(-math.inf, -math.inf), (math.nan, -1.0), (-1.0, math.nan)])
def test_a_score_is_never_guessed(plus: float, minus: float) -> None:
    with pytest.raises(CriticError, match="log-probabilities"):
        label_probability(plus, minus)


def test_prefixes_share_their_messages():
    """8,000 steps once took 500 MB, because every prefix was a tuple of its own."""
    prefixes = critic_prefixes(
        chat({"role": "user", "content": "q"}), [str(n) for n in range(8000)], system="s"
    )
    assert len(prefixes) == 8000 and len(prefixes.messages) == 2 + 2 * 7999
    assert prefixes[0] == prefixes.messages[:2] and prefixes[-1] == prefixes.messages
    assert prefixes[3][-1] == {"role": "user", "content": "3"} and prefixes.length(3) == 8
    assert prefixes[1:3] == (prefixes[1], prefixes[2])
    with pytest.raises(IndexError):
        prefixes[8000]
