"""Step scores: remembered, awaited from whoever reads them, never read twice at once."""

import asyncio
from collections.abc import Sequence

import pytest

from server.vllm_engine.critic.step_memo import StepMemo


class Reader:
    """Scores key i of `keys` as i / 10, once `let` is set; remembers what it was asked."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.asked: list[Sequence[int]] = []
        self.let = asyncio.Event()
        self.began = asyncio.Event()
        if at_once:
            self.let.set()

    async def __call__(self, wanted: Sequence[int]) -> Sequence[float]:
        self.asked.append(wanted)
        self.began.set()
        await self.let.wait()
        return [index / 10 for index in wanted]


KEYS = [b"a", b"b", b"c"]


async def test_what_is_known_is_not_read_again():
    memo, reader = StepMemo(10), Reader()
    assert await memo.scores(KEYS[:2], reader) == (0.0, 0.1)
    assert await memo.scores(KEYS, reader) == (0.0, 0.1, 0.2)
    assert await memo.scores(KEYS, reader) == (0.0, 0.1, 0.2)
    assert reader.asked == [[0, 1], [2]]


async def test_the_least_recently_used_is_forgotten():
    memo, reader = StepMemo(2), Reader()
    await memo.scores([b"a"], reader)
    await memo.scores([b"b"], reader)
    await memo.scores([b"a"], reader)
    await memo.scores([b"c"], reader)  # b goes
    reader.asked.clear()
    await memo.scores([b"c", b"a"], reader)
    assert reader.asked == []
    await memo.scores([b"b"], reader)
    assert reader.asked == [[0]]


async def test_more_steps_than_it_keeps_are_all_answered():
    assert await StepMemo(1).scores(KEYS, Reader()) == (0.0, 0.1, 0.2)


async def test_two_who_ask_together_share_what_is_common():
    memo, first, second = StepMemo(10), Reader(at_once=False), Reader()
    leading = asyncio.create_task(memo.scores([b"a", b"b"], first))
    await first.began.wait()
    following = asyncio.create_task(memo.scores([b"a", b"x"], second))
    await second.began.wait()
    assert second.asked == [[1]]
    first.let.set()
    assert await leading == (0.0, 0.1)
    assert await following == (0.0, 0.1)  # its second key is at index 1, too


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_who_waits_reads_itself_when_the_other_gives_up(ending: str):
    memo, second = StepMemo(10), Reader()
    begun = asyncio.Event()

    async def never(wanted: Sequence[int]) -> Sequence[float]:
        begun.set()
        if ending == "failed":
            await asyncio.sleep(0.01)
            raise OSError("gone")
        return await asyncio.Event().wait()  # type: ignore[return-value]

    leading = asyncio.create_task(memo.scores([b"a"], never))
    await begun.wait()
    following = asyncio.create_task(memo.scores([b"a"], second))
    await asyncio.sleep(0)
    assert second.asked == []
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
