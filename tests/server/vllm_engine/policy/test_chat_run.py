import pytest

from server.vllm_engine.policy.chat_run import prepend_system_message

ASKING = {"role": "user", "content": "Who?"}


def test_it_comes_first():
    assert prepend_system_message([ASKING], "Be brief.") == [
        {"role": "system", "content": "Be brief."},
        ASKING,
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Be long.", ""])
def test_a_requests_own_wins_wherever_it_stands(role, content):
    own = {"role": role, "content": content}
    assert prepend_system_message([own, ASKING], "Be brief.") == [own, ASKING]
    assert prepend_system_message([ASKING, own], "Be brief.") == [ASKING, own]


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_to_put_in_front(nothing):
    assert prepend_system_message([ASKING], nothing) == [ASKING]
