"""The system message in front of a conversation."""

import pytest

from server.vllm_engine.policy.chat_run import prepend_system_message

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
