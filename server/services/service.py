"""What one server does for its clients, without HTTP: the routes and the batches call it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from server.access.principal import Principal
from server.engine_interface import CriticEngine, Engines, PolicyEngine
from server.errors import no_files, not_ready
from server.files.store import FileStore
from server.media.budget import Budget
from server.protocol.message_fields import message_fields
from server.protocol.response_fields import response_fields

from . import adapters, chat, completions, converted, critic_service, scoring, tokens
from .context import ServerContext, living_critic, living_policy, loaded


@dataclass(frozen=True)
class Service:
    """The use cases of one server.

    Each takes the `principal` that asks, the `body` of its request, which has OpenAI's format, and the
    `budget` of what that one request may use. Each raises ApiError: for a mistake of the client, and with
    status 503 while the models load and after an engine has died.
    """

    context: ServerContext

    def ready_engine(self) -> PolicyEngine:
        """Return the policy. Raises ApiError if it is still loading, has stopped, or if there is none."""
        return living_policy(loaded(self.context.engines))

    def ready_critic(self) -> CriticEngine:
        """Return the critic. Raises ApiError if it is still loading, can't score, or if there is none."""
        return living_critic(loaded(self.context.engines))

    def ready_engines(self) -> Engines:
        """Return the engines if chat requests or, without a policy, scores get answers. Raises ApiError."""
        engines = loaded(self.context.engines)
        if engines.policy is None:
            living_critic(engines)
        else:
            living_policy(engines)
        return engines

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

    async def complete(
        self, principal: Principal, body: Mapping[str, Any], budget: Budget
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        """Return the reply to a request for text completions, or its events if the body asks for a stream."""
        return await completions.complete(self.ready_engine(), principal, body, budget.ticket)

    async def respond(
        self, principal: Principal, body: Mapping[str, Any], budget: Budget
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        """Return the reply to a request of the Responses API, or its events if the body asks for a stream."""
        engine = self.ready_engine()
        request = engine.convert_response(response_fields(body))
        return await converted.answer(self.context, engine, principal, request, budget)

    async def message(
        self, principal: Principal, body: Mapping[str, Any], budget: Budget
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        """Return the reply to a request of Anthropic's Messages API, or its events."""
        engine = self.ready_engine()
        fields = message_fields(body, principal.settings, engine.adapters)
        request = engine.convert_message(fields, counts_tokens=False)
        return await converted.answer(self.context, engine, principal, request, budget)

    async def count_message_tokens(
        self, principal: Principal, body: Mapping[str, Any], budget: Budget
    ) -> dict[str, Any]:
        """Return how many tokens a request of Anthropic's Messages API has."""
        engine = self.ready_engine()
        fields = message_fields(body, principal.settings, engine.adapters)
        request = engine.convert_message(fields, counts_tokens=True)
        return await converted.count_tokens(self.context, engine, principal, request, budget)

    async def score(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the critic's scores for the answers in the body."""
        self.ready_critic()
        return await scoring.score(self.context, loaded(self.context.engines), principal, body, budget)

    async def load_adapter(self, principal: Principal, body: Mapping[str, Any]) -> str:
        """Load a LoRA adapter of the policy, and return a sentence. Only an admin key may."""
        return await adapters.load(self.context.settings, self.ready_engine(), principal, body)

    async def unload_adapter(self, principal: Principal, body: Mapping[str, Any]) -> str:
        """Unload a LoRA adapter of the policy, and return a sentence. Only an admin key may."""
        return await adapters.unload(self.ready_engine(), principal, body)

    def api_schemas(self) -> Mapping[str, Any]:
        """Return the JSON schemas that the policy's engine defines; none if the server has no policy.

        Raises ApiError (503) while the models load.
        """
        policy = loaded(self.context.engines).policy
        return {} if policy is None else policy.api_schemas()

    def describe_critic(self) -> dict[str, Any]:
        """Return what another server must know to use the critic of this one."""
        return critic_service.describe(self.ready_critic())

    async def keep_medium(
        self,
        principal: Principal,
        name: str,
        *,
        cache_salt: str | None,
        media_type: str,
        data: bytearray,
        budget: Budget,
    ) -> dict[str, Any]:
        """Keep an image or a video for questions to the critic. `critic_service` describes the arguments."""
        return await critic_service.keep_medium(
            self.context,
            loaded(self.context.engines),
            principal,
            name,
            cache_salt=cache_salt,
            media_type=media_type,
            data=data,
            budget=budget,
        )

    async def render(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the prompt that a chat request would be answered from, and its cost at most."""
        return await tokens.render(self.context, self.ready_engine(), principal, body, budget)

    async def tokenize(self, principal: Principal, body: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """Return the tokens of a text, or of a conversation with its images and videos."""
        return await tokens.tokenize(self.context, self.ready_engine(), principal, body, budget)

    async def detokenize(self, principal: Principal, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the text of tokens."""
        return await tokens.detokenize(self.ready_engine(), principal, body)
