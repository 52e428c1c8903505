"""Answers end at the trained window, and longer prompts are refused."""

from types import SimpleNamespace

import pytest

from server.errors import ApiError
from server.vllm_engine.policy.window import WindowLimitedClient


class Client:
    errored = False

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def generate(self, prompt, params, name, **options):
        self.calls.append((params.max_tokens, name, options))
        return iter(())


def windowed(client: Client, *, window: int = 10, answer: int | None = None) -> WindowLimitedClient:
    return WindowLimitedClient(client, window=window, tokens_per_tile=4, answer=answer)


def params(max_tokens: int | None) -> SimpleNamespace:
    return SimpleNamespace(max_tokens=max_tokens)


PROMPT = {"prompt_token_ids": [0] * 7}


@pytest.mark.parametrize(("max_tokens", "passed"), [(None, 3), (1000, 3), (3, 3), (2, 2)])
def test_an_answer_gets_the_positions_that_are_left(max_tokens, passed):
    client = Client()
    windowed(client).generate(PROMPT, params(max_tokens), "a", priority=1)
    assert client.calls == [(passed, "a", {"priority": 1})]


@pytest.mark.parametrize(("window", "answer"), [(7, None), (6, None), (10, 4)])
def test_what_does_not_fit_is_refused(window, answer):
    client = Client()
    with pytest.raises(ApiError) as caught:
        windowed(client, window=window, answer=answer).generate(PROMPT, params(answer), "a")
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "messages"
    assert "takes 7 positions" in caught.value.message and f"window is {window}" in caught.value.message
    assert not client.calls


def test_other_attributes_are_the_clients():
    assert windowed(Client()).errored is False


def test_it_keeps_the_stats_of_the_prompt():
    client = windowed(Client())
    client.generate(PROMPT, params(1), "a")
    assert client.prompt_stats is not None
    assert client.prompt_stats.highest_position == 6
