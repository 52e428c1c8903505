"""Count the steps of one engine, and ask its process whether it still answers."""

from typing import Any


class StepCounter:
    """The `EngineSteps` of one of vLLM's clients.

    vLLM's client passes the outputs of each step to its output processor, whatever the step was for.
    """

    def __init__(self, client: Any) -> None:
        """`client` is vLLM's `AsyncLLM`, whose output processor is changed."""
        self.steps = 0
        self._client = client
        processor = client.output_processor
        update = processor.update_scheduler_stats

        def count_and_update(stats: Any) -> None:
            self.steps += 1
            update(stats)

        processor.update_scheduler_stats = count_and_update

    @property
    def waiting(self) -> int:
        """See `EngineSteps.waiting`."""
        count: int = self._client.output_processor.get_num_unfinished_requests()
        return count

    async def ping(self) -> None:
        """See `EngineSteps.ping`."""
        await self._client.engine_core.is_sleeping_async()
