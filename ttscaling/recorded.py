"""A policy and a critic that repeat recorded candidates and their recorded step scores."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from .answers.final_answer import final_answer
from .steps import split_steps
from .types import Candidate, Conversation, CriticError, OnDraft, StepScores, ignore_draft


@dataclass(frozen=True, kw_only=True)
class QuestionCandidates:
    """The recorded candidates of one question, in index order, and the answers of its beam searches."""

    texts: tuple[str, ...]
    step_scores: tuple[tuple[float, ...], ...]
    tokens: tuple[int, ...]  # generated for each candidate
    finish_reasons: tuple[str, ...]  # "length" for a candidate that was cut off
    critic: str
    beam_texts: Mapping[int, str]  # the answer of each beam search, by the search's n
    beam_tokens: Mapping[int, int]  # the tokens that it generated
    beam_finish_reasons: Mapping[int, str]

    @property
    def answers(self) -> tuple[str | None, ...]:
        """The final answer that each candidate states, as the server reads it."""
        ends = zip(self.texts, self.finish_reasons, strict=True)
        return tuple(final_answer(text, cut_off=reason == "length") for text, reason in ends)

    @property
    def beam_answers(self) -> Mapping[int, str | None]:
        """The final answer of each beam search, by the search's n."""
        reasons = self.beam_finish_reasons
        return {n: final_answer(text, cut_off=reasons[n] == "length") for n, text in self.beam_texts.items()}


class RecordedPolicy:
    """A Policy that repeats recorded candidates, one token in each turn of the event loop.

    `tokens` counts all tokens that were written, those of candidates that were cut off included.
    """

    def __init__(self, recorded: QuestionCandidates) -> None:
        self._recorded = recorded
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
        for _ in range(self._recorded.tokens[index]):
            await asyncio.sleep(0)
            self.tokens += 1
        return Candidate(
            index=index,
            text=self._recorded.texts[index],
            finish_reason=self._recorded.finish_reasons[index],
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=self._recorded.tokens[index],
        )


class RecordedCritic:
    """A Critic that repeats the scores of recorded candidates; any other answer raises CriticError."""

    def __init__(self, recorded: QuestionCandidates) -> None:
        self.name = recorded.critic
        self._scores = dict(zip(recorded.texts, recorded.step_scores, strict=True))

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        if answer not in self._scores:
            raise CriticError("this answer was not recorded")
        steps = split_steps(answer)
        return StepScores(steps=steps, scores=self._scores[answer], prompt_tokens=0, cached_tokens=0)
