"""Engines on one GPU start one after the other, because each measures the memory of the whole device."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from server.errors import StartupError
from server.vllm_engine import start
from server.vllm_engine.engine_flags import engine_roles
from server.vllm_engine.memory.need import GIB
from server.vllm_engine.start_order import build_all
from tests.server.apps import settings


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


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., start.Preparation]:
    """Return a function that prepares nano's two engines for GPUs of these sizes, which are simulated."""

    def prepare(*sizes: int, **chosen: Any) -> start.Preparation:
        monkeypatch.setenv("VLLM_MEDIA_CONNECTOR", "http")  # restores the variable that `prepare` sets
        monkeypatch.setattr(start, "current_platform", SimpleNamespace(is_cpu=lambda: False))
        monkeypatch.setattr(start, "visible_gpus", lambda: dict(enumerate(sizes)))
        configured = settings(policy="nano", critic="nano", **chosen)
        return start.prepare(engine_roles(configured), configured)

    return prepare


def shares(prepared: start.Preparation) -> list[float]:
    return [config.cache_config.gpu_memory_utilization for config in prepared.configs]


def test_engines_on_one_gpu_start_in_turn_with_a_part_of_it_each(on_gpus):
    prepared = on_gpus(80 * GIB)
    assert not prepared.side_by_side
    assert sum(shares(prepared)) == pytest.approx(0.92, abs=0.002)


def test_a_critic_on_a_gpu_of_its_own_starts_beside_the_policy_and_both_have_all(on_gpus):
    prepared = on_gpus(80 * GIB, 24 * GIB, critic_args="--device-ids 1")
    assert prepared.side_by_side and shares(prepared) == [0.92, 0.92]
    assert prepared.configs[1].parallel_config.assigned_physical_gpu_ids == [1]


def test_the_operators_own_share_reaches_vllm(on_gpus):
    prepared = on_gpus(80 * GIB, policy_args="--gpu-memory-utilization 0.3")
    assert shares(prepared) == [0.3, pytest.approx(0.62, abs=0.001)]


def test_nothing_is_built_for_a_gpu_that_is_too_small(on_gpus):
    with pytest.raises(
        StartupError, match=r"of GPU 0, where engines may take 2\.8 GiB: give the critic a GPU"
    ):
        on_gpus(3 * GIB)
