import asyncio

import pytest

from tests.clients.chat_server import Reply, chat_server
from ttscaling.asking.client import CHAT, Refused, connected
from ttscaling.asking.concurrency import run_concurrently
from ttscaling.console import CommandError


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_failed_request_is_sent_again(status: int) -> None:
    requests: list[int] = []

    def reply(body: dict) -> Reply:
        requests.append(len(requests))
        return (
            Reply({"error": {"message": "not yet"}}, status=status)
            if len(requests) < 3
            else Reply({"ok": True})
        )

    with chat_server(reply) as url:
        async with connected(url, pauses=(0, 0)) as server:
            assert await server.post(CHAT, {}) == {"ok": True}
        requests.clear()
        async with connected(url, pauses=(0,)) as server:
            with pytest.raises(CommandError, match=rf"HTTP {status}.*not yet"):
                await server.post(CHAT, {})
    assert len(requests) == 2


async def test_a_refused_request_is_not_sent_again() -> None:
    bodies: list[dict] = []

    def reply(body: dict) -> Reply:
        bodies.append(body)
        return Reply({"error": {"message": "no such field"}}, status=400)

    with chat_server(reply) as url:
        async with connected(f"{url}/v1", pauses=(0, 0)) as server:
            with pytest.raises(Refused, match="no such field"):
                await server.post(CHAT, {"n": 1})
    assert bodies == [{"n": 1}]


async def test_a_server_that_never_answered_gets_no_second_request() -> None:
    with chat_server(lambda body: Reply({})) as url:
        pass  # After the block nothing listens on this port.
    async with connected(url, pauses=(600,)) as server:
        with pytest.raises(CommandError, match="no server answers"):
            await asyncio.wait_for(server.post(CHAT, {}), 120)


async def test_a_malformed_address_raises_a_command_error() -> None:
    with pytest.raises(CommandError, match="is no address"):
        async with connected("http://[::1"):
            pass


async def test_at_most_three_items_at_a_time_and_the_first_failure_cancels_the_rest() -> None:
    running, most, begun = 0, 0, []

    async def work(item: int) -> None:
        nonlocal running, most
        begun.append(item)
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0)
        running -= 1
        if item == 7:
            raise CommandError("the seventh")

    await run_concurrently(range(6), work, total=6, concurrency=3, label="items")
    assert (most, begun) == (3, list(range(6)))
    with pytest.raises(CommandError, match="the seventh"):
        await run_concurrently(range(100), work, total=100, concurrency=3, label="items")
    assert len(begun) < 30
