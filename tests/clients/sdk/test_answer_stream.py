"""A streamed answer: progress first, then pieces, and in the end the whole answer."""

import asyncio
import json
import socket
from typing import Any

import pytest

from clients.sdk.answer_stream import AnswerStream, Event, Progress, TextPiece, ToolCallPiece, progress_in
from clients.sdk.client import AsyncClient, Client
from clients.sdk.errors import ClientError
from tests.clients.chat_server import Reply, chat_server, completion, event_stream, scaling
from tests.clients.raw_server import RawServer, Script, raw_server

CHOSEN = completion("3 + 4 = 7", test_time_scaling=scaling(("8", 0.2), ("3 + 4 = 7", 0.9), selected=1))
COMMENTS = ("candidate 1/2 scored: index 1, 0.9000", "still working", "candidate 2/2 finished")


def stream_of(*chunks: dict[str, Any]) -> Reply:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Reply("".join([*lines, "data: [DONE]\n\n"]), headers={"Content-Type": "text/event-stream"})


def piece(finish_reason: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def read(reply: Reply) -> tuple[list[Event], Any]:
    with chat_server(lambda body: reply) as url, Client(url) as client:
        stream = client.stream_ask("q", best_of=2)
        return list(stream), stream.answer


async def test_both_clients_give_the_same_events_and_answer() -> None:
    reply = event_stream(CHOSEN, comments=COMMENTS)
    events, answer = read(reply)
    with chat_server(lambda body: reply) as url:
        async with AsyncClient(url) as client:
            stream = client.stream_ask("q", best_of=2)
            assert [event async for event in stream] == events
            assert stream.answer == answer
    assert events[:3] == [
        Progress(COMMENTS[0], finished=1, total=2, index=1, score=0.9),
        Progress(COMMENTS[1]),
        Progress(COMMENTS[2], finished=2, total=2),
    ]
    assert all(isinstance(event, TextPiece) for event in events[3:])
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == "3 + 4 = 7"
    assert answer.text == "3 + 4 = 7" and answer.step_scores == [0.9]


def test_pieces_say_which_choice_and_which_call_they_belong_to() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "add", "arguments": ""}}
    events, answer = read(
        stream_of(
            piece(content="a"),
            piece(index=1, content="b", finish_reason="stop"),
            piece(tool_calls=[call]),
            piece(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}], finish_reason="tool_calls"),
        )
    )
    assert events == [
        TextPiece("a", 0),
        TextPiece("b", 1),
        ToolCallPiece(call=0, name="add", arguments=""),
        ToolCallPiece(call=0, name="", arguments="{}"),
    ]
    assert answer.texts == ["a", "b"]
    assert answer.tool_calls[0].function.arguments == "{}"


@pytest.mark.parametrize(
    "text", ["candidate 1/x finished", "candidate 1/2", "", "candidate 9999999/1 finished"]
)
def test_another_comment_is_only_its_words(text: str) -> None:
    assert progress_in(text) == Progress(text)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": ["a"]},
        {"choices": 7},
        {"choices": [{"index": "x", "delta": {}}]},
        piece(tool_calls=["a"]),
        piece(tool_calls=[{"index": 0, "function": "add"}]),
        {"choices": [{"index": 0, "delta": "a"}]},
    ],
)
def test_a_chunk_of_another_shape_is_an_error_of_the_clients(chunk: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="no chat completion"):
        read(stream_of(chunk, piece(finish_reason="stop")))


def test_text_that_is_no_json_is_an_error_of_the_clients() -> None:
    with pytest.raises(ClientError, match="no chat completion"):
        read(Reply("data: <html>\n\n"))


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_stream_that_is_left_early_closes_its_connection(blocking: bool) -> None:
    """So the server cancels its work, although the client stays open."""
    left = asyncio.Event()
    loop = asyncio.get_running_loop()

    def scripts(server: RawServer) -> list[Script]:
        def waits(connection: socket.socket) -> None:
            server.receive(connection)
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n"
            connection.sendall((head + f"data: {json.dumps(piece(content='a'))}\n\n").encode())
            assert connection.recv(1) == b""  # the end of what the client sends
            loop.call_soon_threadsafe(left.set)

        return [waits]

    def ask_and_leave(client: Client) -> AnswerStream:
        stream = client.stream_ask("q")
        for _ in stream:
            break
        return stream

    with raw_server(scripts) as server:
        if blocking:
            with Client(server.url) as client:
                stream: Any = await asyncio.to_thread(ask_and_leave, client)
                await asyncio.wait_for(left.wait(), 60)
        else:
            async with AsyncClient(server.url) as async_client:
                stream = async_client.stream_ask("q")
                async for _ in stream:
                    break
                await asyncio.wait_for(left.wait(), 60)
        assert stream.answer.text == "a"
