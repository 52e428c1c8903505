"""A critic that adds up the tokens of all its scores, used by the selection or not."""

from .types import Conversation, Critic, StepScores, TokenUsage


class MeteredCritic:
    """A Critic that passes on another critic's scores; `usage` adds up the tokens that they took."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic
        self.usage = TokenUsage()

    @property
    def name(self) -> str:
        """See `Critic.name`."""
        return self._critic.name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        scores = await self._critic.score(conversation, answer)
        self.usage += TokenUsage(critic_prompt=scores.prompt_tokens, critic_cached=scores.cached_tokens)
        return scores
