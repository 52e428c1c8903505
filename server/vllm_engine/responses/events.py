"""Turn the chunks of a streamed chat reply into the events of a streamed response."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from openai.types.responses import ResponseOutputItem
from openai.types.responses.response_output_text import Logprob
from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.entrypoints.openai.responses.streaming_events import SimpleStreamingEventProcessor, split_delta

from server.errors import ApiError
from server.protocol.error_forms import response_error
from server.protocol.event_stream import DONE, is_comment, is_error, read_event, write_named_event

KEPT = ("model", "usage", "vision", "test_time_scaling")  # fields of chunks that the whole response has


class StreamedResponse(Protocol):
    """What the events need to know of their request."""

    def response(
        self, output: Sequence[ResponseOutputItem], finish_reason: str | None, chat_reply: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response object with these output items."""
        ...

    def named(self, error: ApiError) -> ApiError:
        """Return an error of the chat request with the names of this API's fields."""
        ...


async def response_events(
    request: StreamedResponse, chunks: AsyncGenerator[str, None], tools: Sequence[Any]
) -> AsyncGenerator[str, None]:
    """Yield the events of a response, in which comments stay comments and an error is the last event.

    Args:
        request: makes the response objects.
        chunks: the server-sent events of the chat reply.
        tools: those of the request, as vLLM has read them.
    """
    writer = _Writer(request, SimpleStreamingEventProcessor(tools=list(tools)))
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if is_comment(chunk):
                    yield chunk
                elif is_error(chunk):
                    error = read_event(chunk)["error"]
                    raise ApiError(error["message"], param=error["param"], code=error["code"])
                elif chunk != DONE:
                    for event in writer.events_of(read_event(chunk)):
                        yield event
    except ApiError as error:
        yield writer.error(request.named(error))
        return
    for event in writer.last_events():
        yield event


class _Writer:
    """The state of one stream: what was written, and what its response will hold."""

    def __init__(self, request: StreamedResponse, processor: SimpleStreamingEventProcessor) -> None:
        self._request = request
        self._processor = processor
        self._sequence = 0
        self._chat_reply: dict[str, Any] = {}
        self._finish_reason = "stop"

    def events_of(self, chunk: Mapping[str, Any]) -> Iterator[str]:
        """Yield the events that a chunk of the chat reply makes."""
        has_begun = bool(self._chat_reply)
        self._chat_reply |= {name: chunk[name] for name in KEPT if chunk.get(name) is not None}
        if not has_begun:
            response = self._request.response([], None, self._chat_reply)
            yield self._event("response.created", {"response": response})
            yield self._event("response.in_progress", {"response": response})
        for choice in chunk.get("choices") or ():
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            for delta in split_delta(DeltaMessage.model_validate(choice["delta"])):
                yield from self._delta_events(delta, choice)

    def _delta_events(self, delta: DeltaMessage, choice: Mapping[str, Any]) -> Iterator[str]:
        state, tool_call = self._processor.resolve_target_state(delta)
        if state.name == "NONE":
            return
        new_events: list[Any] = []
        if self._processor.needs_transition(state, tool_call):
            new_events += self._processor.close_current()
            new_events += self._processor.open(state, tool_call)
        new_events += self._processor.emit_delta(delta, None, partial(_logprobs, choice))
        yield from map(self._processor_event, new_events)

    def last_events(self) -> Iterator[str]:
        """Yield the events that end the stream: those of its last item and the whole response."""
        yield from map(self._processor_event, self._processor.close_current())
        response = self._request.response(self._processor.output_items, self._finish_reason, self._chat_reply)
        yield self._event(f"response.{response['status']}", {"response": response})

    def error(self, error: ApiError) -> str:
        """Return the event for an error."""
        return self._event("error", response_error(error))

    def _processor_event(self, event: Any) -> str:
        body = event.model_dump(mode="json", by_alias=True)
        del body["type"]
        return self._event(event.type, body)

    def _event(self, kind: str, body: Mapping[str, Any]) -> str:
        numbered = {"type": kind, **body, "sequence_number": self._sequence}
        self._sequence += 1
        return write_named_event(kind, numbered)


def logprobs_of(choice: Mapping[str, Any]) -> list[Logprob]:
    """Return the log-probabilities of a chat choice or of a chunk of it, as a response holds them."""
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    return [
        Logprob.model_validate(
            {**token, "top_logprobs": token.get("top_logprobs") or []},
        )
        for token in tokens
    ]


def _logprobs(choice: Mapping[str, Any], output: object) -> list[Logprob]:
    return logprobs_of(choice)
