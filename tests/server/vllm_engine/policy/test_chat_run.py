import pytest

from server.vllm_engine.policy.chat_run import with_system

ASKING = {"role": "user", "content": "Who?"}


def test_it_comes_first():
    assert with_system([ASKING], "Be brief.") == [{"role": "system", "content": "Be brief."}, ASKING]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Be long.", ""])
def test_a_requests_own_wins_wherever_it_stands(role, content):
    own = {"role": role, "content": content}
    assert with_system([own, ASKING], "Be brief.") == [own, ASKING]
    assert with_system([ASKING, own], "Be brief.") == [ASKING, own]


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_to_put_in_front(nothing):
    assert with_system([ASKING], nothing) == [ASKING]
