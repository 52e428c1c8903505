"""A critic with a meter: what its scores took, however many of them a selection used."""

from .types import Conversation, Critic, StepScores, TokenUsage


class MeteredCritic:
    """The critic it is given, and the tokens of every score that it returned since."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic
        self.usage = TokenUsage()

    @property
    def name(self) -> str:
        return self._critic.name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        scores = await self._critic.score(conversation, answer)
        self.usage += TokenUsage(critic_prompt=scores.prompt_tokens, critic_cached=scores.cached_tokens)
        return scores
