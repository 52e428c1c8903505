"""The order in which engines start: one after the other on a shared GPU, side by side elsewhere."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def build_all(builds: Sequence[Callable[[], T]], *, side_by_side: bool) -> list[T | BaseException]:
    """Return what these functions build, or their errors, in order. Each runs in a thread of its own.

    On a GPU an engine measures how the memory of the whole device changes while it loads, and would take the
    weights of another for its own. So engines that share one start one after the other, and none after an
    error.
    """
    if side_by_side:
        return await asyncio.gather(*(asyncio.to_thread(build) for build in builds), return_exceptions=True)
    outcomes: list[T | BaseException] = []
    for build in builds:
        try:
            outcomes.append(await asyncio.to_thread(build))
        except Exception as error:
            return [*outcomes, error]
    return outcomes
