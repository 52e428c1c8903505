"""Best-of-N among answers of one word, with a score for each word."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.ttscaling.scripted import QUESTION, Playback, ScriptedCritic
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.types import Selection

SCORES = {"one": (0.5,), "two": (0.9,), "three": (0.7,)}


async def select(
    policy: Playback, scores: Mapping[str, Sequence[float]] = SCORES, *, n: int, **options: Any
) -> Selection:
    return await best_of_n(policy, ScriptedCritic(scores), QUESTION, n=n, on_critic_error="first", **options)


def texts(selection: Selection) -> list[str]:
    return [entry.candidate.text for entry in selection.candidates]
