"""The events of a stream are read and add up to the completion."""

import pytest

from clients.sdk.completions import Completion
from clients.sdk.errors import ApiError
from clients.sdk.event_stream import Chunk, Comment, StreamedCompletion, events
from tests.clients.chat_server import completion, event_stream, scaling


def test_the_chunks_add_up_to_the_reply_without_streaming() -> None:
    reply = completion("3 + 4 = 7.\n\nFinal answer: 7", test_time_scaling=scaling(("7", 0.9), selected=0))
    stream = event_stream(reply, comments=("candidate 1/1 finished",)).body
    assert isinstance(stream, str)
    first, *chunks = events(stream.splitlines())
    assert first == Comment("candidate 1/1 finished")
    answer = StreamedCompletion()
    pieces = [answer.add(chunk) for chunk in chunks if isinstance(chunk, Chunk)]
    expected = Completion.model_validate(reply)
    assert "".join(pieces) == expected.text
    assert len([piece for piece in pieces if piece]) > 1
    assert answer.completion() == expected


def test_other_lines_give_no_events() -> None:
    assert list(events(["", "event: message", "id: 3", "data: [DONE]", "retry: 10"])) == []


def test_an_error_event_is_raised() -> None:
    line = 'data: {"error": {"message": "The engine died.", "type": "server_error"}}'
    with pytest.raises(ApiError, match="The engine died"):
        list(events([line]))
