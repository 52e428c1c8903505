import pytest

from tests.ttscaling.scripted import QUESTION, ScriptedCritic
from ttscaling.metered import MeteredCritic
from ttscaling.types import CriticError, TokenUsage


async def test_every_score_counts_also_that_of_a_repeated_answer() -> None:
    critic = MeteredCritic(ScriptedCritic({"a": (0.5,), "b": (0.1,)}))
    assert (await critic.score(QUESTION, "a")).scores == (0.5,)
    for answer in ("b", "a"):
        await critic.score(QUESTION, answer)
    with pytest.raises(CriticError):
        await critic.score(QUESTION, "unknown")
    assert (critic.name, critic.usage) == ("scripted", TokenUsage(critic_prompt=15))
