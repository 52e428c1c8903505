"""What engines are started with on GPUs, which are simulated: their shares, and which start in turn."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from server.errors import StartupError
from server.vllm_engine import preparation
from server.vllm_engine.engine_flags import engine_roles
from server.vllm_engine.memory.need import GIB
from tests.server.apps import settings


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., preparation.Preparation]:
    """Return a function that prepares nano's two engines for GPUs of these sizes, which are simulated."""

    def prepare(*sizes: int, **chosen: Any) -> preparation.Preparation:
        monkeypatch.setenv("VLLM_MEDIA_CONNECTOR", "http")  # restores the variable that `prepare` sets
        monkeypatch.setattr(preparation, "current_platform", SimpleNamespace(is_cpu=lambda: False))
        monkeypatch.setattr(preparation, "visible_gpus", lambda: dict(enumerate(sizes)))
        configured = settings(policy="nano", critic="nano", **chosen)
        return preparation.prepare(engine_roles(configured), configured)

    return prepare


def shares(prepared: preparation.Preparation) -> list[float]:
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
