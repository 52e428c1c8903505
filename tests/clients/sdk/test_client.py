"""Both clients send the same requests, read the same replies, retry, and raise the same errors."""

from collections.abc import Callable
from typing import Any

import pytest

from clients.sdk.client import AsyncClient, Client
from clients.sdk.completions import Completion
from clients.sdk.errors import ApiError, ClientError, ServerUnreachable
from clients.sdk.event_stream import Chunk, Comment
from clients.sdk.messages import user_message
from clients.sdk.streamed_completion import StreamedCompletion
from tests.clients.chat_server import Reply, chat_server, completion, event_stream, scaling

BUSY = Reply({"error": {"message": "Busy."}}, status=429, headers={"Retry-After": "0"})
CHOSEN = completion("7", test_time_scaling=scaling(("8", 0.2), ("7", 0.9), selected=1))


async def both(base_url: str, **fields: Any) -> tuple[Completion, Completion]:
    """Ask both clients the same question, the blocking one first, and return their completions."""
    message = user_message("What is 3 + 4?")
    with Client(base_url) as client:
        blocking = client.chat([message], **fields)
    async with AsyncClient(base_url) as async_client:
        return blocking, await async_client.chat([message], **fields)


async def both_fail(base_url: str) -> list[ClientError]:
    """Return the errors that both clients raise for one question."""
    failures = []
    with pytest.raises(ClientError) as blocking, Client(base_url) as client:
        client.chat([user_message("q")])
    failures.append(blocking.value)
    with pytest.raises(ClientError) as asynchronous:
        async with AsyncClient(base_url) as async_client:
            await async_client.chat([user_message("q")])
    return [*failures, asynchronous.value]


def in_turn(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """Return a function that gives one reply after the other."""
    remaining = list(replies)
    return lambda body: remaining.pop(0)


async def test_fields_go_out_as_they_are_and_the_reply_comes_back() -> None:
    bodies: list[dict[str, Any]] = []

    def reply(body: dict[str, Any]) -> Reply:
        bodies.append(body)
        return Reply(CHOSEN)

    with chat_server(reply) as url:
        for completion_ in await both(f"{url}/v1/", best_of=8, mm_processor_kwargs={"v2pe_delta": 0.25}):
            assert completion_.text == "7"
            assert completion_.test_time_scaling is not None
            assert completion_.test_time_scaling.selected == 1
    assert bodies == 2 * [
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "What is 3 + 4?"}]}],
            "best_of": 8,
            "mm_processor_kwargs": {"v2pe_delta": 0.25},
        }
    ]


async def test_a_busy_server_is_asked_again() -> None:
    with chat_server(in_turn(BUSY, BUSY, Reply(CHOSEN), BUSY, Reply(CHOSEN))) as url:
        assert [reply.text for reply in await both(url)] == ["7", "7"]


async def test_a_server_that_stays_busy_is_reported() -> None:
    with chat_server(in_turn(*[BUSY] * 6)) as url:
        for failure in await both_fail(url):
            assert isinstance(failure, ApiError)
            assert (failure.status, failure.message) == (429, "Busy.")


async def test_a_refusal_carries_the_error_body() -> None:
    refusal = {
        "error": {"message": "Above 0.", "type": "invalid_request_error", "param": "v2pe_delta", "code": None}
    }
    with chat_server(lambda body: Reply(refusal, status=400)) as url:
        for failure in await both_fail(url):
            assert isinstance(failure, ApiError)
            assert (failure.status, failure.param) == (400, "v2pe_delta")


async def test_a_reply_that_is_no_completion_is_reported() -> None:
    with chat_server(lambda body: Reply("<html>hello</html>")) as url:
        for failure in await both_fail(url):
            assert "no chat completion" in str(failure)


async def test_an_address_without_a_server_is_reported() -> None:
    with chat_server(in_turn()) as url:
        pass  # the port was free a moment ago
    for failure in await both_fail(url):
        assert isinstance(failure, ServerUnreachable)
        assert str(failure) == f"no server answers at {url}; start one with: internvl3 serve"


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1", "http://[::"])
async def test_text_that_is_no_address_is_reported(address: str) -> None:
    for failure in await both_fail(address):
        assert f"{address} is no address of a server" in str(failure)


async def test_a_stream_gives_comments_and_adds_up_to_the_same_reply() -> None:
    bodies: list[dict[str, Any]] = []

    def reply(body: dict[str, Any]) -> Reply:
        bodies.append(body)
        return event_stream(CHOSEN, comments=("candidate 1/2 finished", "still working"))

    with chat_server(reply) as url:
        with Client(url) as client:
            blocking = list(client.stream_chat([user_message("q")], best_of=2))
        async with AsyncClient(url) as async_client:
            events = [event async for event in async_client.stream_chat([user_message("q")], best_of=2)]
    assert blocking == events
    assert events[:2] == [Comment("candidate 1/2 finished"), Comment("still working")]
    answer = StreamedCompletion()
    for event in events[2:]:
        assert isinstance(event, Chunk)
        answer.add(event)
    assert answer.completion().text == "7"
    assert answer.completion().test_time_scaling == Completion.model_validate(CHOSEN).test_time_scaling
    assert all(body["stream"] is True and body["best_of"] == 2 for body in bodies)
