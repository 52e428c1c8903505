"""Each medium of a question is sent once, whoever waits for it and whoever leaves."""

import asyncio
from collections import Counter

import pytest

from server.media.transfer import OutgoingMedium
from server.remote_critic.uploads import Key, MediaUploads
from ttscaling.types import CriticError

MEDIA = {name: OutgoingMedium(media_type="image/png", size=len(name), source=name.encode()) for name in "ab"}


class Server:
    """Takes each upload when `free` is set, or fails."""

    def __init__(self) -> None:
        self.taken: Counter[Key] = Counter()
        self.begun = asyncio.Event()
        self.free = asyncio.Event()
        self.fails = False

    async def put(self, key: Key, medium: OutgoingMedium) -> None:
        self.taken[key] += 1
        self.begun.set()
        await self.free.wait()
        if self.fails:
            raise CriticError("no")


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_answers_that_miss_the_same_medium_wait_for_one_upload():
    server = Server()
    uploads = MediaUploads(server.put)
    begin = now()
    waiting = [
        asyncio.create_task(uploads.send(MEDIA, ["a", "b"], cache_salt=None, since=begin)) for _ in range(3)
    ]
    await server.begun.wait()
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    server.free.set()
    await asyncio.gather(*waiting[1:])
    await uploads.send(MEDIA, ["a"], cache_salt=None, since=begin)
    assert server.taken == {(None, "a"): 1, (None, "b"): 1}, "whoever had asked before finds it there now"
    await uploads.send(MEDIA, ["a"], cache_salt=None, since=now() + 1)
    assert server.taken[None, "a"] == 2, "it was dropped since"
    await uploads.send(MEDIA, ["a"], cache_salt="salt", since=begin)
    assert server.taken["salt", "a"] == 1


async def test_all_who_wait_for_an_upload_that_fails_are_told_and_the_next_one_tries_again():
    server = Server()
    server.fails = True
    server.free.set()
    uploads = MediaUploads(server.put)
    for _ in range(2):
        sending = [uploads.send(MEDIA, ["a"], cache_salt=None, since=now()) for _ in range(2)]
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CriticError] * 2
    assert server.taken[None, "a"] == 2


async def test_media_of_no_question_are_not_sent():
    with pytest.raises(CriticError, match="media that the question doesn't have"):
        await MediaUploads(Server().put).send(MEDIA, ["a", "c"], cache_salt=None, since=0)


async def test_closing_ends_what_runs():
    server = Server()
    uploads = MediaUploads(server.put)
    sending = asyncio.create_task(uploads.send(MEDIA, ["a"], cache_salt=None, since=now()))
    await server.begun.wait()
    await uploads.close()
    with pytest.raises(asyncio.CancelledError):
        await sending
