"""Media that the engine has no copy of are sent again, once for each candidate.

The engine here is a script; tests/server/test_forgotten_media.py uses the real one.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from server.vllm_engine.policy.media_resend import MediaResendingClient

BY_HASH = {"prompt_token_ids": [1, 2], "mm_kwargs": {"image": [None], "v2pe_delta": ["0.5"]}}
WITH_TILES = {"prompt_token_ids": [1], "mm_kwargs": {"image": ["tiles"], "v2pe_delta": ["0.5"]}}


class Client:
    """An engine that fails on prompts without tiles, as vLLM's does: before the first token of any choice."""

    errored = False

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.prompts: list[Mapping[str, Any]] = []
        self.closed = 0

    async def generate(
        self, prompt: Any, params: Any, name: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        self.prompts.append(prompt)
        assert (params, options) == ("params", {"priority": 1})
        fails = self.broken or None in prompt["mm_kwargs"].get("image", ())
        try:
            for text in ("", "") if fails else ("4", "42"):
                reason = "error" if fails else None
                yield SimpleNamespace(outputs=[SimpleNamespace(text=text, finish_reason=reason)])
        finally:
            self.closed += 1


class Renderer:
    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> Mapping[str, Any]:
        self.calls += 1
        await asyncio.sleep(0)
        return WITH_TILES


async def outputs(client: MediaResendingClient, prompt: Any) -> list[tuple[str, str | None]]:
    generated = client.generate(prompt, "params", "name", priority=1)
    return [(output.outputs[0].text, output.outputs[0].finish_reason) async for output in generated]


async def test_a_prompt_that_the_engine_lacks_the_tiles_of_is_sent_again_with_them():
    client, render = Client(), Renderer()
    assert await outputs(MediaResendingClient(client, render), BY_HASH) == [("4", None), ("42", None)]
    # The tokens stay, because beam search has added those of the steps so far.
    assert client.prompts == [BY_HASH, {**WITH_TILES, "prompt_token_ids": [1, 2]}]
    assert client.closed == 2, "the first request is aborted before the second begins"


@pytest.mark.parametrize("prompt", [WITH_TILES, {"prompt_token_ids": [1], "mm_kwargs": {}}])
async def test_another_failure_is_passed_on(prompt: Mapping[str, Any]):
    client, render = Client(broken=True), Renderer()
    assert await outputs(MediaResendingClient(client, render), prompt) == [("", "error")] * 2
    assert (len(client.prompts), render.calls) == (1, 0)


async def test_an_engine_that_fails_with_the_tiles_too_is_asked_twice_at_most():
    client, render = Client(broken=True), Renderer()
    assert await outputs(MediaResendingClient(client, render), BY_HASH) == [("", "error")] * 2
    assert len(client.prompts) == 2


async def test_all_candidates_of_a_request_share_one_rendering():
    client, render = Client(), Renderer()
    resending = MediaResendingClient(client, render)
    for answer in await asyncio.gather(outputs(resending, BY_HASH), outputs(resending, BY_HASH)):
        assert answer == [("4", None), ("42", None)]
    assert (len(client.prompts), render.calls) == (4, 1)


async def test_a_candidate_that_is_cancelled_does_not_end_the_rendering_of_the_others():
    client, render = Client(), Renderer()
    resending = MediaResendingClient(client, render)
    cancelled = asyncio.create_task(outputs(resending, BY_HASH))
    while render.calls == 0:
        await asyncio.sleep(0)
    other = asyncio.create_task(outputs(resending, BY_HASH))
    cancelled.cancel()
    assert await other == [("4", None), ("42", None)]


def test_other_attributes_are_the_clients():
    assert MediaResendingClient(Client(), Renderer()).errored is False
