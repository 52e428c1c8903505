"""What all requests that go to the policy's engine have: a body in OpenAI's and vLLM's fields."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class EngineCall:
    """A request that was checked as far as that is possible without the engine."""

    body: Mapping[str, Any]  # OpenAI's and vLLM's fields; `model` is a served name
    stream: bool

    @property
    def cache_salt(self) -> Any:
        """What the prefix cache is salted with, as the client sent it; None if it sent nothing."""
        return self.body.get("cache_salt")

    def with_cache_salt(self, salt: Any) -> Self:
        """Return the call with another `cache_salt`; None leaves it out."""
        others = {name: value for name, value in self.body.items() if name != "cache_salt"}
        return replace(self, body=others if salt is None else {**others, "cache_salt": salt})

    def with_priority(self, priority: int) -> Self:
        """Return the call with vLLM's priority: requests with a lower number are scheduled first."""
        return replace(self, body={**self.body, "priority": priority})
