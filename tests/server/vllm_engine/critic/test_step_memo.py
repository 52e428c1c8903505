"""The memory of step scores: no score is read twice, not even at the same time."""

import asyncio
from collections.abc import Sequence

import pytest

from server.vllm_engine.critic.step_memo import StepMemo


class Reader:
    """Returns index / 10 as the score of each index once `let` is set, and keeps the indices."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.calls: list[Sequence[int]] = []
        self.let = asyncio.Event()
        self.began = asyncio.Event()
        if at_once:
            self.let.set()

    async def __call__(self, indices: Sequence[int]) -> Sequence[float]:
        self.calls.append(indices)
        self.began.set()
        await self.let.wait()
        return [index / 10 for index in indices]


KEYS = [b"a", b"b", b"c"]


async def test_what_is_known_is_not_read_again():
    memo, reader = StepMemo(10), Reader()
    assert await memo.scores(KEYS[:2], reader) == (0.0, 0.1)
    assert await memo.scores(KEYS, reader) == (0.0, 0.1, 0.2)
    assert await memo.scores(KEYS, reader) == (0.0, 0.1, 0.2)
    assert reader.calls == [[0, 1], [2]]


async def test_the_least_recently_used_is_forgotten():
    memo, reader = StepMemo(2), Reader()
    await memo.scores([b"a"], reader)
    await memo.scores([b"b"], reader)
    await memo.scores([b"a"], reader)
    await memo.scores([b"c"], reader)  # this drops b
    reader.calls.clear()
    await memo.scores([b"c", b"a"], reader)
    assert reader.calls == []
    await memo.scores([b"b"], reader)
    assert reader.calls == [[0]]


async def test_more_steps_than_it_keeps_are_all_answered():
    assert await StepMemo(1).scores(KEYS, Reader()) == (0.0, 0.1, 0.2)


async def test_two_who_ask_together_share_what_is_common():
    memo, first, second = StepMemo(10), Reader(at_once=False), Reader()
    leading = asyncio.create_task(memo.scores([b"a", b"b"], first))
    await first.began.wait()
    following = asyncio.create_task(memo.scores([b"a", b"x"], second))
    await second.began.wait()
    assert second.calls == [[1]]
    first.let.set()
    assert await leading == (0.0, 0.1)
    assert await following == (0.0, 0.1)  # the index of x among its keys is also 1


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_who_waits_reads_itself_when_the_other_gives_up(ending: str):
    memo, second = StepMemo(10), Reader()
    begun = asyncio.Event()

    async def never(indices: Sequence[int]) -> Sequence[float]:
        begun.set()
        if ending == "failed":
            await asyncio.sleep(0.01)
            raise OSError("gone")
        return await asyncio.Event().wait()  # type: ignore[return-value]

    leading = asyncio.create_task(memo.scores([b"a"], never))
    await begun.wait()
    following = asyncio.create_task(memo.scores([b"a"], second))
    await asyncio.sleep(0)
    assert second.calls == []
    if ending == "cancelled":
        leading.cancel()
    assert await following == (0.0,)
    with pytest.raises((OSError, asyncio.CancelledError)):
        await leading


async def test_cancelling_who_waits_leaves_the_reader_alone():
    memo, first = StepMemo(10), Reader(at_once=False)
    leading = asyncio.create_task(memo.scores([b"a"], first))
    await first.began.wait()
    following = asyncio.create_task(memo.scores([b"a"], Reader()))
    await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    first.let.set()
    assert await leading == (0.0,)
