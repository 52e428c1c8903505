"""Engines on one GPU start one after the other, because each measures the memory of the whole device."""

import threading
from collections.abc import Callable

import pytest

from server.vllm_engine.start_order import build_all


class Builds:
    """Functions that build, and how many of them ran at the same time."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self.together = threading.Barrier(2)

    def build(self, name: str, *, meets: bool = False, fails: bool = False) -> Callable[[], str]:
        def run() -> str:
            with self._lock:
                self._running += 1
                self.most = max(self.most, self._running)
                self.order.append(name)
            if meets:
                self.together.wait(30)  # breaks unless the other build runs at the same time
            with self._lock:
                self._running -= 1
            if fails:
                raise RuntimeError(name)
            return name

        return run


async def test_one_after_the_other():
    builds = Builds()
    names = ("policy", "critic", "third")
    assert await build_all([builds.build(name) for name in names], side_by_side=False) == list(names)
    assert (builds.order, builds.most) == (list(names), 1)


async def test_none_is_started_after_an_error():
    builds = Builds()
    outcomes = await build_all(
        [builds.build("policy", fails=True), builds.build("critic")], side_by_side=False
    )
    assert builds.order == ["policy"] and isinstance(outcomes[0], RuntimeError) and len(outcomes) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_side_by_side(fails: bool):
    builds = Builds()
    outcomes = await build_all(
        [builds.build("policy", meets=True, fails=fails), builds.build("critic", meets=True)],
        side_by_side=True,
    )
    assert builds.most == 2 and outcomes[1] == "critic"
    assert isinstance(outcomes[0], RuntimeError) if fails else outcomes[0] == "policy"
