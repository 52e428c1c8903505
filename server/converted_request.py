"""The interface of a request that another API sends and that a chat request answers (docs/decisions/0078)."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from .errors import ApiError


class ConvertedRequest(Protocol):
    """A request of another API, answered by a chat request."""

    @property
    def chat_body(self) -> Mapping[str, Any]:
        """The body of the chat request."""
        ...

    def named(self, error: ApiError) -> ApiError:
        """Return an error of the chat request with the names of the other API's fields."""
        ...

    def reply(self, chat_reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return the other API's reply, given the chat request's."""
        ...

    def events(self, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Return the other API's server-sent events, given the chat request's."""
        ...
