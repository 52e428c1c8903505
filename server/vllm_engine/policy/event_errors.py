"""Word the errors in vLLM's streams as this server does, and add what was seen to their first event."""

from collections.abc import AsyncGenerator
from typing import Protocol

from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from server.errors import ApiError
from server.protocol.event_stream import is_error, read_event, write_event
from server.vllm_engine.error_mapping import api_error

from .prompt_stats import PromptStats, add_vision_report

MEDIA_USAGE = '"multimodal_tokens"'


class StreamedRun(Protocol):
    """A request whose events are streamed."""

    @property
    def failure(self) -> Exception | None:
        """The error that ended the request, if it wasn't vLLM's."""
        ...

    @property
    def prompt_stats(self) -> PromptStats | None:
        """The stats of the prompt; None before it was rendered, and without media."""
        ...


async def reword_errors(events: AsyncGenerator[str, None], run: StreamedRun) -> AsyncGenerator[str, None]:
    """Yield vLLM's events with reworded errors, and with the field `vision` in the first event.

    Raises:
        ApiError: the first event is an error, so that the reply can still have its HTTP status.
    """
    begun = False
    async for event in events:
        if is_error(event):
            failure = run.failure
            reported = ErrorResponse.model_validate(read_event(event))
            error = failure if isinstance(failure, ApiError) else api_error(failure or reported)
            if not begun:
                raise error
            event = write_event(error.body)
        elif not begun or MEDIA_USAGE in event:
            stats = None if begun else run.prompt_stats
            event = write_event(add_vision_report(read_event(event), stats))
        begun = True
        yield event
