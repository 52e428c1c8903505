"""Scripts of candidates that hypothesis draws, and a policy and a critic that follow them."""

import asyncio
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.ttscaling.scripted import candidate
from ttscaling.selection.stopping import StopRule
from ttscaling.steps import split_steps
from ttscaling.types import (
    ABANDONED,
    Candidate,
    Conversation,
    CriticError,
    InvalidCandidate,
    OnDraft,
    PolicyError,
    StepScores,
    TokenUsage,
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
    fails: str | None
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
        fails=st.sampled_from([*[None] * 8, "error", "invalid"]),
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
    max_seconds=st.none() | st.integers(1, 120),
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
        if script.fails == "error":
            raise PolicyError("HTTP 500", usage=draft.usage)
        finished = replace(draft, finish_reason="stop")
        if script.fails == "invalid":
            raise InvalidCandidate(finished, "it is no JSON")
        return finished


class TableCritic:
    """Scores the steps of a candidate as its script says; a step that isn't the candidate's gets 0.

    `tokens` counts what it has read, one token for each scoring.
    """

    name = "table"

    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = {script.paragraphs[0]: script for script in scripts}
        self.tokens = 0

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        steps = split_steps(answer)
        script = self._scripts[steps[0]]
        for _ in range(script.critic_turns):
            await asyncio.sleep(0)
        self.tokens += 1
        whole = split_steps(script.separator.join(script.paragraphs))
        if script.unscored and steps == whole:
            raise CriticError("the critic failed", usage=TokenUsage(critic_prompt=1))
        scores = tuple(score for score, _, _ in script.steps[: len(steps)])
        return StepScores(
            steps=steps,
            scores=scores if steps == whole[: len(steps)] else (0.0,) * len(steps),
            prompt_tokens=1,
            cached_tokens=0,
        )
