"""The bytes of a stream become comments and chunks, wherever they are cut."""

import json

import pytest

from clients.sdk.errors import ApiError, ServerUnreachable
from clients.sdk.event_stream import Chunk, Comment, EventReader, events

FINISHED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def read(*pieces: bytes) -> list[Comment | Chunk]:
    reader = EventReader()
    found = [event for piece in pieces for event in reader.feed(piece)]
    return [*found, *reader.end()]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_stream_reads_the_same_wherever_it_is_cut(line_end: str) -> None:
    # These characters end a line for str.splitlines, and stand in answers as they are.
    chunk = {"choices": [{"index": 0, "delta": {"content": "a\u2028b\x85c 数\x1c"}, "finish_reason": None}]}
    lines = [": candidate 1/2 finished", "", f"data: {json.dumps(chunk, ensure_ascii=False)}", ""]
    stream = line_end.join([*lines, "data: [DONE]", "", ""]).encode()
    expected = [Comment("candidate 1/2 finished"), Chunk(chunk)]
    for cut in range(len(stream)):
        assert read(stream[:cut], stream[cut:]) == expected
    assert read(*(bytes([byte]) for byte in stream)) == expected


def test_other_lines_give_no_events() -> None:
    assert list(events(["", "event: message", "id: 3", "data: [DONE]", "retry: 10"])) == []


def test_an_error_event_is_raised() -> None:
    line = 'data: {"error": {"message": "The engine died.", "type": "server_error"}}'
    with pytest.raises(ApiError, match="The engine died"):
        list(events([line]))


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    begun = b'data: {"choices": [{"index": 0, "delta": {"content": "3 + "}, "finish_reason": null}]}\n\n'
    with pytest.raises(ServerUnreachable, match="ended before the answer did"):
        read(begun)


def test_the_end_may_be_a_finish_reason_without_done_or_line_end() -> None:
    assert read(f"data: {json.dumps(FINISHED)}".encode()) == [Chunk(FINISHED)]
    assert read(b"data: [DONE]") == []
