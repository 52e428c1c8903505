"""A critic that adds up the tokens of all its scorings, those that fail or are cancelled included."""

from server.engine_interface import CountTokens, CriticEngine
from server.request_media import Videos
from ttscaling.types import Conversation, StepScores, TokenUsage


class MeteredCritic:
    """Passes on the scores of the engine's critic; `usage` adds up the tokens that they took."""

    def __init__(self, critic: CriticEngine, videos: Videos, count: CountTokens) -> None:
        """Keep what all scorings of one request need.

        Args:
            critic: the engine's critic.
            videos: the decoded videos of the request by handle.
            count: gets the tokens of each engine request, too.
        """
        self._critic = critic
        self._videos = videos
        self._count = count
        self.usage = TokenUsage()

    @property
    def name(self) -> str:
        """See `Critic.name`."""
        return self._critic.name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        return await self._critic.score(conversation, answer, videos=self._videos, count=self._add)

    def _add(self, usage: TokenUsage) -> None:
        self.usage += usage
        self._count(usage)
