"""The steps of an engine's process, by which the server notices that it hangs."""

from typing import Protocol


class EngineSteps(Protocol):
    """The steps of one engine's process."""

    @property
    def steps(self) -> int:
        """How many steps the engine has made. Each computes a batch of tokens for some of its requests."""
        ...

    @property
    def waiting(self) -> int:
        """The number of requests that the engine has not ended."""
        ...

    async def ping(self) -> None:
        """Return when the process has answered, which it does between two steps, or when it is idle."""
        ...
