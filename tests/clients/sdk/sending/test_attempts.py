"""What is sent again after a failure, and what is not, because the server may have done it."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import pytest

from clients.sdk.answer_stream import Progress
from clients.sdk.client import AsyncClient, Client
from clients.sdk.errors import ApiError, InvalidRequest, OutcomeUnknown, ServerUnreachable, TimedOut
from clients.sdk.sending.timeouts import Timeouts
from tests.clients.chat_server import completion
from tests.clients.raw_server import RawServer, Script, raw_server

BUSY = "503 Service Unavailable"
ERROR = json.dumps({"error": {"message": "Busy.", "type": "server_error", "param": None, "code": "busy"}})
ANSWER = json.dumps(completion("7"))
FILE = json.dumps({"id": "file-1", "bytes": 3, "filename": "file"})
BATCH = json.dumps({"id": "batch-1", "status": "validating", "endpoint": "/v1/chat/completions"})
Action = Callable[[Any], Any]
BLOCKING = [False, True]


def ask(client: Any, text: str = "q") -> Any:
    return client.ask(text)


def upload(client: Any) -> Any:
    return client.files.upload(b"abc")


def make_batch(client: Any) -> Any:
    return client.batches.create_from_file("file-1")


def delete(client: Any) -> Any:
    return client.files.delete("file-1")


async def act(url: str, action: Action, *, blocking: bool, **options: Any) -> Any:
    """Return what an action returns, with the blocking client or the other."""
    if blocking:
        with Client(url, **options) as client:
            return action(client)
    async with AsyncClient(url, **options) as async_client:
        result: Awaitable[Any] = action(async_client)
        return await result


@pytest.mark.parametrize("blocking", BLOCKING)
async def test_a_question_is_asked_again_after_its_connection_broke(blocking: bool) -> None:
    with raw_server(lambda server: [server.closes, server.replies(ANSWER)]) as server:
        assert (await act(server.url, ask, blocking=blocking)).text == "7"
    assert len(server.requests) == 2 and server.requests[0] == server.requests[1]


@pytest.mark.parametrize("blocking", BLOCKING)
@pytest.mark.parametrize("action", [upload, make_batch, delete])
async def test_a_side_effect_is_not_repeated_after_its_connection_broke(
    action: Action, blocking: bool
) -> None:
    with (
        raw_server(lambda server: [server.closes, server.replies(FILE)]) as server,
        pytest.raises(OutcomeUnknown, match=r"may have done .* look at the list of .* before") as failure,
    ):
        await act(server.url, action, blocking=blocking)
    assert server.connections == 1
    assert "send the request again" not in str(failure.value)


@pytest.mark.parametrize("blocking", BLOCKING)
async def test_a_side_effect_is_not_repeated_after_silence(blocking: bool) -> None:
    with (
        raw_server(lambda server: [server.is_silent, server.replies(FILE)]) as server,
        pytest.raises(OutcomeUnknown, match="it had not begun to reply"),
    ):
        await act(server.url, upload, blocking=blocking, timeout=Timeouts(first_byte=0.2))
    assert server.connections == 1


@pytest.mark.parametrize("status", ["500 Error", "502 Bad Gateway", "503 Service Unavailable", "504 Timeout"])
async def test_a_side_effect_is_not_repeated_where_a_proxy_may_have_passed_it_on(status: str) -> None:
    with (
        raw_server(lambda server: [server.replies(ERROR, status=status)]) as server,
        pytest.raises(ApiError, match="Busy"),
    ):
        await act(server.url, upload, blocking=True)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("429 Too Many Requests", "Retry-After: 0\r\n"),
        (BUSY, "Retry-After: 0\r\n"),
        (BUSY, "retry-after-ms: 1\r\n"),
        ("500 Error", "x-should-retry: true\r\nretry-after-ms: 1\r\n"),
    ],
)
async def test_a_side_effect_is_tried_again_if_the_server_did_nothing(status: str, headers: str) -> None:
    def scripts(server: RawServer) -> list[Script]:
        return [server.replies(ERROR, status=status, headers=headers), server.replies(FILE)]

    with raw_server(scripts) as server:
        assert (await act(server.url, upload, blocking=True)).id == "file-1"
    assert len(server.requests) == 2
    assert all(b"abc" in request for request in server.requests)  # the file was read from its beginning


async def test_the_server_may_forbid_to_retry() -> None:
    with (
        raw_server(
            lambda server: [server.replies(ERROR, status=BUSY, headers="x-should-retry: false\r\n")]
        ) as server,
        pytest.raises(ApiError),
    ):
        await act(server.url, ask, blocking=True)
    assert server.connections == 1


async def test_a_refusal_carries_the_id_of_the_request() -> None:
    with (
        raw_server(
            lambda server: [server.replies(ERROR, status="400 Bad", headers="X-Request-Id: r-1\r\n")]
        ) as server,
        pytest.raises(ApiError) as refusal,
    ):
        await act(server.url, ask, blocking=True)
    assert (refusal.value.code, refusal.value.request_id) == ("busy", "r-1")


@pytest.mark.parametrize("blocking", BLOCKING)
async def test_each_time_limit_says_that_it_was_over(blocking: bool) -> None:
    limits = Timeouts(write=0.2, first_byte=0.3, between_bytes=0.4)
    big = "x" * 20_000_000  # more than the sockets hold on their way

    def scripts(server: RawServer) -> list[Script]:
        return [server.reads_nothing, server.is_silent, server.stalls_after("data: ")]

    with raw_server(scripts) as server:
        for limit, text in (("write", big), ("first_byte", "q"), ("between_bytes", "q")):
            action = partial(ask, text=text)
            with pytest.raises(TimedOut) as silence:
                await act(server.url, action, blocking=blocking, timeout=limits)
            assert silence.value.limit == limit
            assert f"within {getattr(limits, limit):g} s" in str(silence.value)
            assert limit in str(silence.value)
    assert server.connections == 3  # a server that was silent isn't made to begin once more


async def test_the_limit_between_bytes_holds_in_a_stream() -> None:
    with (
        raw_server(lambda server: [server.stalls_after(": still working\n\n")]) as server,
        Client(server.url, timeout=Timeouts(first_byte=60, between_bytes=0.2)) as client,
    ):
        events = iter(client.stream_ask("q"))
        assert next(events) == Progress("still working")
        with pytest.raises(TimedOut, match=r"its reply stopped within 0\.2 s"):
            list(events)


class Outcomes(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that gives these replies, or refuses the connection, in turn."""

    def __init__(self, *outcomes: str | None) -> None:
        self.remaining = list(outcomes)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = self.remaining.pop(0)
        if content is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text=content, request=request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


@pytest.mark.parametrize("blocking", BLOCKING)
async def test_only_a_server_that_has_answered_is_expected_back(blocking: bool) -> None:
    """So a wrong address is reported at once. What never had a connection repeats nothing, also an upload."""
    network = Outcomes(None, ANSWER)
    with pytest.raises(ServerUnreachable, match="no server answers"):
        await act("http://localhost", ask, blocking=blocking, transport=network)
    assert network.remaining == [ANSWER]

    network = Outcomes(ANSWER, None, FILE)
    if blocking:
        with Client("http://localhost", transport=network) as client:
            client.ask("q")
            assert client.files.upload(b"abc").id == "file-1"
    else:
        async with AsyncClient("http://localhost", transport=network) as async_client:
            await async_client.ask("q")
            assert (await async_client.files.upload(b"abc")).id == "file-1"


@pytest.mark.parametrize("blocking", BLOCKING)
async def test_a_broken_reply_to_a_question_is_fetched_again(blocking: bool) -> None:
    def breaks(server: RawServer) -> Script:
        def script(connection: Any) -> None:
            server.receive(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")

        return script

    with raw_server(lambda server: [breaks(server), server.replies(ANSWER)]) as server:
        assert (await act(server.url, ask, blocking=blocking)).text == "7"


async def test_a_stream_that_broke_is_not_begun_anew() -> None:
    def breaks(server: RawServer) -> Script:
        def script(connection: Any) -> None:
            server.receive(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n: working\n\n")

        return script

    with (
        raw_server(lambda server: [breaks(server), server.replies(ANSWER)]) as server,
        Client(server.url) as client,
        pytest.raises(ServerUnreachable, match="broke off"),
    ):
        list(client.stream_ask("q"))
    assert server.connections == 1


async def test_a_redirection_is_reported_and_not_followed() -> None:
    """The key would go to another address."""
    moved = "301 Moved", "Location: https://other.example/v1\r\n"
    with (
        raw_server(lambda server: [server.replies("", status=moved[0], headers=moved[1])]) as server,
        pytest.raises(InvalidRequest, match=r"another address, https://other\.example/v1"),
    ):
        await act(server.url, ask, blocking=True, api_key="secret")
    assert server.connections == 1
