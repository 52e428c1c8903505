"""An answer while it is written: the progress of candidates, then pieces of text and of tool calls."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from .answers import Answer, answer_of
from .event_stream import Chunk, Comment
from .sending.failures import shape_errors
from .streamed_completion import StreamedCompletion

# As this server writes it: `candidate 3/8 scored: index 5, 0.9123`, or `candidate 3/8 finished`.
CANDIDATE = re.compile(r"candidate (\d{1,6})/(\d{1,6}) (?:finished|scored: index (\d{1,6}), (\d\.\d{1,9}))")


@dataclass(frozen=True)
class Progress:
    """What the server says before the answer comes. `text` is its own words.

    `finished` of `total` candidates are finished. If the critic has scored the last one, `index` and `score`
    are its. All four are None if the text says something else.
    """

    text: str
    finished: int | None = None
    total: int | None = None
    index: int | None = None
    score: float | None = None


@dataclass(frozen=True)
class TextPiece:
    """A piece of an answer's text; `choice` is 0 but for further answers (`n` above 1)."""

    text: str
    choice: int = 0


@dataclass(frozen=True)
class ToolCallPiece:
    """A piece of a tool call; the first one has its name, and each may have a piece of the arguments."""

    call: int
    name: str
    arguments: str
    choice: int = 0


Event = Progress | TextPiece | ToolCallPiece


class AnswerStream:
    """Iterates once over the events of an answer. Afterwards, `answer` is the whole of it.

    If the iteration is left early, the connection closes, and the server cancels its work.
    """

    def __init__(self, stream: Generator[Comment | Chunk], url: str) -> None:
        """`url` is the server's, for the message of an error."""
        self._stream = stream
        self._url = url
        self._sum = StreamedCompletion()

    def __iter__(self) -> Iterator[Event]:
        with closing(self._stream) as stream:
            for event in stream:
                with shape_errors(self._url, "chat completion"):
                    pieces = added(self._sum, event)
                yield from pieces

    @property
    def answer(self) -> Answer:
        """The answer of all events so far; the whole answer once the iteration has ended."""
        with shape_errors(self._url, "chat completion"):
            return answer_of(self._sum.completion())


class AsyncAnswerStream:
    """An `AnswerStream` for asyncio."""

    def __init__(self, stream: AsyncGenerator[Comment | Chunk], url: str) -> None:
        """`url` is the server's, for the message of an error."""
        self._stream = stream
        self._url = url
        self._sum = StreamedCompletion()

    async def __aiter__(self) -> AsyncIterator[Event]:
        async with aclosing(self._stream) as stream:
            async for event in stream:
                with shape_errors(self._url, "chat completion"):
                    pieces = added(self._sum, event)
                for piece in pieces:
                    yield piece

    @property
    def answer(self) -> Answer:
        """The answer of all events so far; the whole answer once the iteration has ended."""
        with shape_errors(self._url, "chat completion"):
            return answer_of(self._sum.completion())


def added(completion: StreamedCompletion, event: Comment | Chunk) -> list[Event]:
    """Add an event of the stream to a completion, and return what it says."""
    if isinstance(event, Comment):
        return [progress_in(event.text)]
    completion.add(event)
    pieces: list[Event] = []
    for choice in event.body.get("choices") or ():
        index, delta = int(choice.get("index") or 0), choice.get("delta") or {}
        if delta.get("content"):
            pieces.append(TextPiece(str(delta["content"]), index))
        pieces += [_tool_call_piece(call, index) for call in delta.get("tool_calls") or ()]
    return pieces


def progress_in(text: str) -> Progress:
    """Return what a comment says about the candidates."""
    found = CANDIDATE.fullmatch(text)
    if found is None:
        return Progress(text)
    finished, total, index, score = found.groups()
    return Progress(
        text,
        finished=int(finished),
        total=int(total),
        index=None if index is None else int(index),
        score=None if score is None else float(score),
    )


def _tool_call_piece(call: dict[str, Any], choice: int) -> ToolCallPiece:
    function = call.get("function") or {}
    return ToolCallPiece(
        call=int(call.get("index") or 0),
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
        choice=choice,
    )
