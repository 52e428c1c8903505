"""A critic that adds up the tokens of all its scorings, those that fail or are cancelled included."""

from server.engine_interface import CountTokens, CriticEngine
from server.request_media import Media
from server.telemetry.selection_metrics import SelectionMetrics
from server.telemetry.tracing import span
from ttscaling.types import Conversation, StepScores, TokenUsage


class MeteredCritic:
    """Passes on the scores of the engine's critic; `usage` adds up the tokens that they took."""

    def __init__(
        self, critic: CriticEngine, media: Media, count: CountTokens, metrics: SelectionMetrics
    ) -> None:
        """Keep what all scorings of one request need.

        Args:
            critic: the engine's critic.
            media: the decoded images and videos of the request by handle.
            count: gets the tokens of each engine request, too.
            metrics: the server's, which count the scores.
        """
        self._critic = critic
        self._media = media
        self._count = count
        self._metrics = metrics
        self.usage = TokenUsage()

    @property
    def name(self) -> str:
        """See `Critic.name`."""
        return self._critic.name

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        """See `Critic.score`."""
        with self._metrics.timed_score(), span("score"):
            return await self._critic.score(conversation, answer, media=self._media, count=self._add)

    def _add(self, usage: TokenUsage) -> None:
        self.usage += usage
        self._count(usage)
