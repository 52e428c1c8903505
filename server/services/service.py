"""What one server does for its clients, without HTTP: the routes and the batches call it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from server.access.principal import Principal
from server.engine_interface import Engine
from server.errors import no_files, not_ready, stopped
from server.files.store import FileStore
from server.media.budget import Budget

from . import chat, scoring, tokens
from .context import ServerContext


@dataclass(frozen=True)
class Service:
    """The use cases of one server.

    Each takes the `principal` that asks, the `body` of its request, which has OpenAI's format, and the
    `budget` of what that one request may use. Each raises ApiError: for a mistake of the client, and with
    status 503 while the models load and after an engine has died.
    """

    context: ServerContext

    def ready_engine(self) -> Engine:
        """Return the engine. Raises ApiError if it is still loading or has stopped."""
        engine = self.context.engine
        if engine is None:
            raise not_ready()
        if not engine.alive:
            raise stopped()
        return engine

    def file_store(self) -> FileStore:
        """Return the server's files. Raises ApiError if it keeps none (404) or is still starting (503)."""
        if self.context.settings.files is None:
            raise no_files()
        if self.context.files is None:
            raise not_ready()
        return self.context.files

    async def answer(
        self, principal: Principal, body: Mapping[str, Any], budget: Budget
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        """Return the reply to a chat request, or its server-sent events if the body asks for a stream."""
        return await chat.answer(self.context, self.ready_engine(), principal, body, budget)

    async def score(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the critic's scores for the answers in the body."""
        return await scoring.score(self.context, self.ready_engine(), principal, body, budget)

    async def render(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the prompt that a chat request would be answered from, and its cost at most."""
        return await tokens.render(self.context, self.ready_engine(), principal, body, budget)

    async def tokenize(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the tokens of a text, or of a conversation with its images and videos."""
        return await tokens.tokenize(self.context, self.ready_engine(), principal, body, budget)

    async def detokenize(self, principal: Principal, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the text of tokens."""
        return await tokens.detokenize(self.ready_engine(), principal, body)
