"""No rule changes what a beam search chooses, unless the selection says that it ended early."""

import asyncio
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION, candidate
from ttscaling.methods.beam_search import beam_search
from ttscaling.methods.beams import Beam
from ttscaling.selection.stopping import StopRule
from ttscaling.steps import split_steps
from ttscaling.types import (
    Candidate,
    Conversation,
    CriticError,
    PolicyError,
    Selection,
    StepScores,
    TokenUsage,
)


class HashPolicy:
    """Writes the step that a hash of its beginning and its index chooses; one in eight fails."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.tokens = 0

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        chance = crc32(f"{self._number} {index} {parent.text}".encode())
        await asyncio.sleep(0)
        self.tokens += chance % 7
        ends = chance // 7 % 3 == 0
        text = f"Final answer: {chance % 5}" if ends else f"step {chance % 11}"
        step = candidate(index, text, tokens=chance % 7, reason="stop" if ends else None)
        if chance // 21 % 8 == 0:
            raise PolicyError("HTTP 500", usage=step.usage)
        return step


class HashCritic:
    """Scores each beginning by its hash; one in eight fails."""

    name = "hash"

    def __init__(self, number: int) -> None:
        self._number = number
        self.tokens = 0

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        steps = split_steps(answer)
        await asyncio.sleep(0)
        self.tokens += 1
        if crc32(f"{self._number} {answer}".encode()) % 8 == 0:
            raise CriticError("NaN", usage=TokenUsage(critic_prompt=1))
        scores = tuple(crc32(f"{self._number} {step}".encode()) % 9 / 8 for step in steps)
        return StepScores(steps=steps, scores=scores, prompt_tokens=1, cached_tokens=0)


def run(number: int, beam: Beam, stop: StopRule) -> tuple[Selection, int]:
    """Return the selection and the tokens that the policy wrote for it, which its usage must equal."""
    policy, critic = HashPolicy(number), HashCritic(number)
    search = beam_search(policy, critic, QUESTION, beam=beam, on_critic_error="self_consistency", stop=stop)
    selection = asyncio.run(search)
    assert (selection.usage.completion, selection.usage.critic_prompt) == (policy.tokens, critic.tokens)
    return selection, policy.tokens


@settings(max_examples=150, deadline=None)
@given(
    number=st.integers(0, 10**6),
    n=st.integers(1, 6),
    width=st.integers(1, 6),
    stop=st.builds(
        StopRule,
        score=st.none() | st.sampled_from([0.5, 0.8, 1.0]),
        max_tokens=st.none() | st.integers(1, 80),
    ),
)
def test_the_search_chooses_what_it_would_choose_without_the_rule(
    number: int, n: int, width: int, stop: StopRule
) -> None:
    beam = Beam(n=n, width=min(n, width), max_steps=5)
    try:
        whole, all_tokens = run(number, beam, StopRule())
    except PolicyError:  # no first step could be written, which no rule can change
        return
    ended, tokens = run(number, beam, stop)
    assert tokens <= all_tokens
    if ended.stopped is None:
        assert ended == whole
    elif ended.stopped == "score":
        assert stop.score is not None and ended.winner.score is not None
        assert ended.winner.score >= stop.score
    else:
        assert ended.stopped == "tokens" and stop.max_tokens is not None and tokens >= stop.max_tokens
