"""A fake engine for HTTP tests: it has scripted answers and scores, and it keeps all calls."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model.images.tiling import TilingConfig
from server.converted_request import ConvertedRequest
from server.engine_interface import CountTokens, Engines
from server.errors import ApiError
from server.prompts import ChooseCandidates, RenderedPrompt
from server.request_media import Media
from ttscaling.types import (
    Candidate,
    Conversation,
    CriticError,
    OnDraft,
    StepScores,
    TokenUsage,
    ignore_draft,
)

DONE = "data: [DONE]\n\n"


class FakeCritic:
    """Takes the scores of an answer from a table. An answer that isn't in the table is a CriticError."""

    name = "fake-critic"
    comes_back = False
    v2pe_delta = 1.0
    setup: Mapping[str, Any] = MappingProxyType({"name": "fake-critic"})

    def __init__(self, table: Mapping[str, Sequence[float]]) -> None:
        self.table = table
        self.alive = True
        self.tile_size = 56
        self.media: list[Media] = []
        self.conversations: list[Conversation] = []
        self.answers: list[str] = []

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        return vision.get("v2pe_delta", 1) == 1

    async def score(
        self, conversation: Conversation, answer: str, *, media: Media, count: CountTokens
    ) -> StepScores:
        self.media.append(media)
        self.conversations.append(conversation)
        self.answers.append(answer)
        count(TokenUsage(critic_prompt=10, critic_cached=4))
        if answer not in self.table:
            raise CriticError(f"no score for {answer!r}")
        scores = tuple(self.table[answer])
        steps = tuple(f"step {number}" for number in range(len(scores)))
        return StepScores(steps=steps, scores=scores, prompt_tokens=10, cached_tokens=4)

    async def score_answers(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        media: Media,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        outcomes: list[StepScores | ApiError] = []
        for steps in answers:
            try:
                outcomes.append(await self.score(conversation, "\n\n".join(steps), media=media, count=count))
            except CriticError as error:
                outcomes.append(ApiError(str(error), status=503, code="critic_failed"))
        return outcomes


class FakePolicy:
    """Returns candidates with the texts of `generate`. Every step is a complete answer."""

    prompt_tokens = 7

    def __init__(self, generate: Callable[[int], Coroutine[Any, Any, str]]) -> None:
        self._generate = generate
        self.usage = TokenUsage()

    async def sample(
        self,
        conversation: Conversation,
        *,
        index: int,
        greedy: bool,
        streamed: bool = False,
        on_draft: OnDraft = ignore_draft,
    ) -> Candidate:
        text = await self._generate(index)
        cached, tokens = 0 if index == 0 else 6, len(text.split())
        self.usage += TokenUsage(prompt=7, cached=cached, completion=tokens)
        return Candidate(
            index=index,
            text=text,
            finish_reason="stop",
            prompt_tokens=7,
            cached_tokens=cached,
            completion_tokens=tokens,
        )

    async def extend(
        self, conversation: Conversation, parent: Candidate, *, index: int, greedy: bool
    ) -> Candidate:
        return await self.sample(conversation, index=index, greedy=greedy)


class FakeSteps:
    """The steps of an engine that makes none unless a test says so; it always answers."""

    steps = 0
    waiting = 0

    async def ping(self) -> None:
        return


class FakeEngine:
    """Returns `answers` in turn. A candidate whose answer is None never ends."""

    max_model_len = 2048
    setup: Mapping[str, Any] = MappingProxyType({"name": "nano"})
    tiling = TilingConfig(56, min_tiles=1, max_tiles=6, use_thumbnail=True)

    def __init__(self, answers: Sequence[str | None], critic: FakeCritic | None = None) -> None:
        self.answers = answers
        self.critic = critic
        self.steps: dict[str, FakeSteps] = {"policy": FakeSteps()}
        self.alive = True
        self.closed = False
        self.bodies: list[Mapping[str, Any]] = []
        self.media: list[Media] = []
        self.cancelled = 0  # the number of requests whose client closed the connection
        self.begun = 0  # the number of candidates that were started
        self.running = asyncio.Event()  # set once a candidate that never ends has been started
        self.refuse: ApiError | None = None
        self.adapters: dict[str, Path] = {}

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> dict[str, Any]:
        self.media.append(media)
        answers = await self._answer(body, choose)
        count(TokenUsage(prompt=7, completion=2))
        choices = [
            {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for index, text in enumerate(answers)
        ]
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        return {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}

    async def stream(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> AsyncGenerator[str, None]:
        self.media.append(media)
        count(TokenUsage(prompt=7, completion=2))
        if self.refuse is not None:
            raise self.refuse
        return self._events(body, choose)

    async def _events(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None
    ) -> AsyncGenerator[str, None]:
        answers = await self._answer(body, choose)
        for index in range(body.get("n") or 1):
            yield _chunk(index, {"role": "assistant", "content": ""}, None)
        for index, text in enumerate(answers):
            for word in text.split(" "):
                yield _chunk(index, {"content": word}, None)
            yield _chunk(index, {}, "stop")
        yield DONE

    async def _answer(self, body: Mapping[str, Any], choose: ChooseCandidates | None) -> list[str]:
        self.bodies.append(body)
        if self.refuse is not None:
            raise self.refuse
        try:
            if choose is None:
                return [await self.generate(0)]
            return [
                self.answers[index % len(self.answers)] or ""
                for index in await choose(FakePolicy(self.generate))
            ]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def complete_text(
        self, body: Mapping[str, Any], *, count: CountTokens
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        self.bodies.append(body)
        if self.refuse is not None:
            raise self.refuse
        count(TokenUsage(prompt=7, completion=2))
        return self._text_events() if body.get("stream") else self._text_reply()

    def _text_reply(self) -> dict[str, Any]:
        return {
            "object": "text_completion",
            "choices": [{"index": 0, "text": "yes", "finish_reason": "stop"}],
        }

    def convert_response(self, body: Mapping[str, Any]) -> ConvertedRequest:
        raise NotImplementedError("tests/server/vllm_engine/responses tests it with vLLM's types")

    def convert_message(self, body: Mapping[str, Any], *, counts_tokens: bool) -> ConvertedRequest:
        raise NotImplementedError("tests/server/vllm_engine tests it with vLLM's types")

    def api_schemas(self) -> Mapping[str, Any]:
        return {"ChatCompletionRequest": {"type": "object"}}

    async def _text_events(self) -> AsyncGenerator[str, None]:
        yield f'data: {{"text":"{await self.generate(0)}"}}\n\n'
        yield DONE

    async def generate(self, index: int) -> str:
        self.begun += 1
        text = self.answers[index % len(self.answers)]
        if text is None:
            self.running.set()
            await asyncio.Event().wait()
        assert text is not None
        return text

    async def render(self, body: Mapping[str, Any], *, media: Media) -> RenderedPrompt:
        self.bodies.append(body)
        self.media.append(media)
        return RenderedPrompt(token_ids=[1, 2, 3], vision=None, positions=3, window=100, max_tokens=97)

    async def tokenize(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        return list(text.encode())

    def token_texts(self, token_ids: Sequence[int]) -> Sequence[str]:
        return [chr(token) for token in token_ids]

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode()

    async def load_adapter(self, name: str, folder: Path) -> None:
        self.adapters[name] = folder

    async def unload_adapter(self, name: str) -> None:
        if name not in self.adapters:
            raise ApiError(f"no adapter {name}", status=404, code="adapter_not_found")
        del self.adapters[name]

    def metrics(self) -> bytes:
        return b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0.0\n"

    async def close(self) -> None:
        self.closed = True


def _chunk(index: int, delta: Mapping[str, Any], finish: str | None) -> str:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


def engines_of(policy: FakeEngine) -> Engines:
    """Return the engines of a server with this policy and its critic."""
    return Engines(
        policy=policy,
        critic=policy.critic,
        tiling=policy.tiling,
        max_model_len=policy.max_model_len,
        metrics=policy.metrics,
        close=policy.close,
        steps=policy.steps,
    )
