"""TODO: what this file is about."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from .steps import split_steps
from .types import Candidate, Conversation, CriticError, OnDraft, StepScores, ignore_draft


@dataclass(frozen=True, kw_only=True)
class QuestionCandidates:
    """Of one question: candidates in index order, and what each beam search found."""

    texts: tuple[str, ...]
    step_scores: tuple[tuple[float, ...], ...]
    tokens: tuple[int, ...]  # generated for each candidate
    critic: str
    beam_texts: Mapping[int, str]
    beam_tokens: Mapping[int, int]


class RecordedPolicy:
    """A Policy whose candidates are recorded ones; `tokens` counts all that was written, cut off or not."""

    def __init__(self, rolled: QuestionCandidates) -> None:
        self._rolled = rolled
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
        """See `Policy.sample`."""
        for _ in range(self._rolled.tokens[index]):
            await asyncio.sleep(0)
            self.tokens += 1
        return Candidate(
            index=index,
            text=self._rolled.texts[index],
            finish_reason="stop",
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=self._rolled.tokens[index],
        )


class RecordedCritic:
    """A Critic that knows the recorded candidates and nothing else."""

    def __init__(self, rolled: QuestionCandidates) -> None:
        self.name = rolled.critic
        self._scores = dict(zip(rolled.texts, rolled.step_scores, strict=True))

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        if answer not in self._scores:
            raise CriticError("this answer was not recorded")
        steps = split_steps(answer)
        return StepScores(steps=steps, scores=self._scores[answer], prompt_tokens=0, cached_tokens=0)
