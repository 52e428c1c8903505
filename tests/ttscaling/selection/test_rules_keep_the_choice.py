"""No rule changes what a method chooses, unless the selection says that it ended early."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION, candidate
from ttscaling.answers.final_answer import final_answer
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.selection.stopping import StopRule
from ttscaling.steps import split_steps
from ttscaling.types import (
    ABANDONED,
    Candidate,
    Conversation,
    CriticError,
    OnDraft,
    PolicyError,
    Selection,
    StepScores,
    ignore_draft,
)

LONGEST = 4  # steps of the longest answer
STEP = st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 1.0]), st.integers(1, 5), st.integers(0, 12))
ANSWERS = st.sampled_from(["Final answer: 7", "Final answer: 8", "Final answer: 9", "I don't know,\nsorry"])
SEPARATORS = st.sampled_from(["\n\n", "\n\n\n", "\n\n\n\n"])


@dataclass(frozen=True)
class Script:
    """What a candidate writes: for each step its score, its tokens and the turns that it takes."""

    index: int
    steps: tuple[tuple[float, int, int], ...]
    answer: str
    separator: str
    fails: bool
    unscored: bool
    critic_turns: int

    @property
    def paragraphs(self) -> list[str]:
        return [f"step {place} of {self.index}" for place in range(len(self.steps) - 1)] + [self.answer]


SCRIPTS = st.lists(
    st.builds(
        Script,
        index=st.just(0),
        steps=st.lists(STEP, min_size=1, max_size=LONGEST).map(tuple),
        answer=ANSWERS,
        separator=SEPARATORS,
        fails=st.integers(0, 9).map(lambda draw: draw == 0),
        unscored=st.integers(0, 9).map(lambda draw: draw == 0),
        critic_turns=st.integers(0, 8),
    ),
    min_size=1,
    max_size=7,
).map(lambda scripts: [replace(script, index=index) for index, script in enumerate(scripts)])

RULES = st.builds(
    StopRule,
    score=st.none() | st.sampled_from([0.5, 0.8, 0.9, 1.0]),
    agreement=st.none() | st.sampled_from([0.6, 0.8, 0.95]),
    max_tokens=st.none() | st.integers(1, 60),
    abandon_losers=st.booleans(),
    max_steps=st.none() | st.just(LONGEST),
    max_parallel=st.none() | st.integers(1, 4),
)


class ScriptedPolicy:
    """Writes each candidate at its own pace, and counts the tokens that were written."""

    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = scripts
        self.tokens = 0

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        script = self._scripts[index]
        draft = candidate(index, "", tokens=0, reason=None)
        try:
            for text, (_, tokens, turns) in zip(script.paragraphs, script.steps, strict=True):
                for _ in range(turns):
                    await asyncio.sleep(0)
                before = f"{draft.text}{script.separator}" if draft.text else ""
                written = draft.completion_tokens + tokens
                draft = candidate(index, before + text, tokens=written, reason=None)
                self.tokens += tokens
                if streamed:
                    on_draft(draft)
        except asyncio.CancelledError:
            if draft.text:
                on_draft(replace(draft, finish_reason=ABANDONED))
            raise
        if script.fails:
            raise PolicyError("HTTP 500")
        return replace(draft, finish_reason="stop")


class TableCritic:
    """Scores the steps of a candidate as its script says; a step that isn't the candidate's gets 0."""

    name = "table"

    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = {script.paragraphs[0]: script for script in scripts}

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        steps = split_steps(answer)
        script = self._scripts[steps[0]]
        for _ in range(script.critic_turns):
            await asyncio.sleep(0)
        whole = split_steps(script.separator.join(script.paragraphs))
        if script.unscored and steps == whole:
            raise CriticError("the critic failed")
        scores = tuple(score for score, _, _ in script.steps[: len(steps)])
        return StepScores(
            steps=steps,
            scores=scores if steps == whole[: len(steps)] else (0.0,) * len(steps),
            prompt_tokens=1,
            cached_tokens=0,
        )


def run(method: str, scripts: list[Script], stop: StopRule, **options: Any) -> tuple[Selection, int]:
    policy, n = ScriptedPolicy(scripts), len(scripts)
    if method == "self_consistency":
        selection = asyncio.run(self_consistency(policy, QUESTION, n=n, stop=stop))
    else:
        choose = {"best_of_n": best_of_n, "weighted_vote": weighted_vote}[method]
        options |= {"on_critic_error": "self_consistency"}
        selection = asyncio.run(choose(policy, TableCritic(scripts), QUESTION, n=n, stop=stop, **options))
    return selection, policy.tokens


def usable(method: str, stop: StopRule) -> StopRule:
    """Return the rule without what the method refuses."""
    if method != "best_of_n":
        stop = replace(stop, abandon_losers=False)
    return replace(stop, score=None) if method == "self_consistency" else stop


@settings(max_examples=400)
@given(
    scripts=SCRIPTS,
    method=st.sampled_from(["best_of_n", "weighted_vote", "self_consistency"]),
    aggregation=st.sampled_from(["mean", "min", "last", "product", "max"]),
    stop=RULES,
)
def test_the_choice_is_the_one_among_all_candidates(
    scripts: list[Script], method: str, aggregation: str, stop: StopRule
) -> None:
    # Equal answers of different candidates would share one score, so a script's answer is its own.
    scripts = [replace(s, answer=f"step {s.index}.\n{s.answer}") for s in scripts]
    options = {} if method == "self_consistency" else {"aggregation": aggregation}
    stop = usable(method, stop)
    try:
        whole, all_tokens = run(method, scripts, StopRule(), **options)
    except PolicyError:
        with pytest.raises(PolicyError):
            run(method, scripts, replace(stop, max_tokens=None), **options)
        return
    try:
        ended, tokens = run(method, scripts, stop, **options)
    except PolicyError:  # the cap was met by candidates that failed, before any other wrote a word
        assert stop.max_tokens is not None and any(script.fails for script in scripts)
        return
    assert tokens <= all_tokens
    if ended.stopped is None:
        assert ended.selected == whole.selected
        return
    winner = ended.winner
    if ended.stopped == "score":
        assert stop.score is not None and winner.score is not None and winner.score >= stop.score
    elif ended.stopped == "agreement":
        votes: dict[str | None, float] = defaultdict(float)
        for entry in ended.candidates:
            counts = method == "self_consistency" or entry.score is not None
            if counts and (answer := final_answer(entry.candidate.text)) is not None:
                votes[answer] += 1 if method == "self_consistency" else entry.score or 0
        assert votes[final_answer(winner.candidate.text)] == max(votes.values())
    else:
        assert ended.stopped == "tokens" and stop.max_tokens is not None
        assert tokens >= stop.max_tokens
