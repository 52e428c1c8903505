"""Tokens that are gathered before they are counted are all counted in the end."""

import pytest

from server.vllm_engine.token_accounts import GATHERED, GatheredTokens
from ttscaling.types import TokenUsage


@pytest.mark.parametrize("written", [0, 1, GATHERED - 1, GATHERED, 3 * GATHERED + 5])
def test_every_token_is_counted_once_and_in_few_counts(written: int):
    counted: list[TokenUsage] = []
    tokens = GatheredTokens(counted.append)
    tokens.take(TokenUsage(prompt=9, cached=4, completion=1))
    assert counted == [TokenUsage(prompt=9, cached=4, completion=1)], "the prompt is counted at once"
    for _ in range(written):
        tokens.take(TokenUsage(completion=1))
    assert sum(usage.completion for usage in counted) > written - GATHERED
    tokens.pass_on()
    tokens.pass_on()
    assert sum(counted, TokenUsage()) == TokenUsage(prompt=9, cached=4, completion=1 + written)
    assert len(counted) <= 2 + written // GATHERED
