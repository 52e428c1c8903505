"""Answers end where the trained window does, and prompts beyond it are refused."""

from types import SimpleNamespace

import pytest

from server.errors import ApiError
from server.vllm_engine.policy.window import WindowLimitedClient


class Client:
    errored = False

    def __init__(self) -> None:
        self.asked: list[tuple] = []

    def generate(self, prompt, params, name, **options):
        self.asked.append((params.max_tokens, name, options))
        return iter(())


def windowed(client: Client, *, window: int = 10, answer: int | None = None) -> WindowLimitedClient:
    return WindowLimitedClient(client, window=window, tokens_per_tile=4, answer=answer)


def params(most: int | None) -> SimpleNamespace:
    return SimpleNamespace(max_tokens=most)


PROMPT = {"prompt_token_ids": [0] * 7}


@pytest.mark.parametrize(("most", "given"), [(None, 3), (1000, 3), (3, 3), (2, 2)])
def test_an_answer_gets_the_positions_that_are_left(most, given):
    client = Client()
    windowed(client).generate(PROMPT, params(most), "a", priority=1)
    assert client.asked == [(given, "a", {"priority": 1})]


@pytest.mark.parametrize(("window", "answer"), [(7, None), (6, None), (10, 4)])
def test_what_does_not_fit_is_refused(window, answer):
    client = Client()
    with pytest.raises(ApiError) as caught:
        windowed(client, window=window, answer=answer).generate(PROMPT, params(answer), "a")
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "messages"
    assert "takes 7 positions" in caught.value.message and f"window is {window}" in caught.value.message
    assert not client.asked


def test_the_rest_is_the_clients():
    assert windowed(Client()).errored is False


def test_it_keeps_how_the_prompt_is_seen():
    stand_in = windowed(Client())
    stand_in.generate(PROMPT, params(1), "a")
    assert stand_in.prompt_stats is not None
    assert stand_in.prompt_stats.highest_position == 6
