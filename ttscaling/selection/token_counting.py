"""A policy and a critic that add up the tokens of their calls, those that fail or are cancelled included."""

import asyncio

from ttscaling.types import (
    Candidate,
    Conversation,
    Critic,
    CriticError,
    OnDraft,
    Policy,
    PolicyError,
    StepPolicy,
    StepScores,
    TokenUsage,
    ignore_draft,
)


class CountingPolicy:
    """Passes on the candidates of a policy. `usage` adds up the tokens that they took.

    A candidate that fails or is cancelled took what its error says, or else what its last draft says. If the
    policy reports neither, only finished candidates are counted.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.usage = TokenUsage()

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
        written = TokenUsage()

        def note(draft: Candidate) -> None:
            nonlocal written
            written = draft.usage
            on_draft(draft)

        try:
            candidate = await self._policy.sample(
                conversation, index=index, greedy=greedy, streamed=streamed, on_draft=note
            )
        except PolicyError as error:
            self.usage += error.usage if error.usage != TokenUsage() else written
            raise
        except asyncio.CancelledError:
            self.usage += written
            raise
        self.usage += candidate.usage
        return candidate


class CountingStepPolicy:
    """Passes on the steps of a policy. `usage` adds up the tokens that they took, if they are known."""

    def __init__(self, policy: StepPolicy) -> None:
        self._policy = policy
        self.usage = TokenUsage()

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        """See `StepPolicy.extend`."""
        try:
            step = await self._policy.extend(conversation, parent, index=index, greedy=greedy)
        except PolicyError as error:
            self.usage += error.usage
            raise
        self.usage += step.usage
        return step


class CountingCritic:
    """Passes on the scores of a critic. `usage` adds up the tokens that they took, if they are known."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic
        self.usage = TokenUsage()

    @property
    def name(self) -> str:
        """See `Critic.name`."""
        return self._critic.name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        try:
            scores = await self._critic.score(conversation, answer)
        except CriticError as error:
            self.usage += error.usage
            raise
        self.usage += scores.usage
        return scores
