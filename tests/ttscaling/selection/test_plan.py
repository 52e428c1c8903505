from dataclasses import replace

import pytest

from tests.ttscaling.scripted import QUESTION, Playback, ScriptedCritic
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.selection.stopping import StopRule


async def test_rules_that_a_method_cannot_follow_are_refused() -> None:
    critic = ScriptedCritic({})
    with pytest.raises(ValueError, match="a vote"):
        await weighted_vote(Playback([]), critic, QUESTION, n=2, stop=StopRule(abandon_losers=True))
    with pytest.raises(ValueError, match="needs a critic"):
        await self_consistency(Playback([]), QUESTION, n=2, stop=StopRule(score=0.9))
    auto = replace(QUESTION, mm_processor_kwargs={"v2pe_delta": "auto"})
    with pytest.raises(ValueError, match="fixed delta"):
        await best_of_n(Playback([]), critic, auto, n=2, stop=StopRule(abandon_losers=True))
