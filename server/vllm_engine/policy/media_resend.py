"""An engine client that sends the media of a request again if the engine has no copy of them.

vLLM sends the tiles of an image to the engine once. Later requests with the same image send its hash alone,
because the cache of this process says that the engine has the tiles. That is wrong if the first request never
reached the engine, for example because its client left, or because its grammar was refused. It is also wrong
if a later request overtakes the first. Then the engine ends the later request with an error, and vLLM's chat
handler would report an internal error.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

# Renders the prompt of the request once more. All its media come with their tiles.
RenderWithTiles = Callable[[], Awaitable[Mapping[str, Any]]]


class MediaResendingClient:
    """vLLM's engine client for one request, whose candidates all have the same media."""

    def __init__(self, client: Any, render: RenderWithTiles) -> None:
        self._client = client
        self._render = render
        self._rendered: asyncio.Task[Mapping[str, Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Yield the outputs of vLLM's `EngineClient.generate`.

        If the engine has no copy of the media, this is a second call with the tiles in the prompt. The
        engine tells that before it writes a token of any choice, so nothing is yielded twice.
        """
        outputs = self._client.generate(prompt, sampling_params, request_id, **options)
        async with aclosing(outputs):
            async for output in outputs:
                if _failed(output) and _lacks_tiles(prompt):
                    break
                yield output
            else:
                return
        complete = {**prompt, "mm_kwargs": (await self._render_once())["mm_kwargs"]}
        outputs = self._client.generate(complete, sampling_params, request_id, **options)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _render_once(self) -> Mapping[str, Any]:
        if self._rendered is None:
            self._rendered = asyncio.ensure_future(self._render())
        # Cancelling one candidate must not end the rendering, because others may wait for it.
        return await asyncio.shield(self._rendered)


def _failed(output: Any) -> bool:
    return any(choice.finish_reason == "error" for choice in output.outputs)


def _lacks_tiles(prompt: Mapping[str, Any]) -> bool:
    """Return whether a rendered prompt names a medium by its hash alone."""
    return any(item is None for items in prompt.get("mm_kwargs", {}).values() for item in items)
