"""Turns, means, memory and failures of systems in real processes."""

import pytest

from bench.harness.contest import System, measure


def system(name: str) -> System:
    return System(name, f"tests.bench.contenders:{name}")


CASES = {"short": {"cpu": 0.02}, "long": {"cpu": 0.06}}


def test_systems_take_turns_on_every_case() -> None:
    turns: list[None] = []
    systems = [system("Spin"), system("SpinTwice")]
    samples, failures = measure(systems, CASES, repeats=2, on_turn=lambda: turns.append(None))
    order = [(sample.case, sample.repeat, sample.system) for sample in samples]
    assert order == [(c, r, s.name) for c in CASES for r in (0, 1) for s in systems]
    assert len(turns) == 8
    assert failures == {}
    assert [sample.result for sample in samples if sample.repeat == 0] == [0] * 4
    assert {sample.result for sample in samples if sample.repeat == 1} == {None}


@pytest.mark.parametrize(("times", "processes"), [(1, 1), (3, 1), (2, 2)])
def test_cpu_time_is_that_of_one_call_in_one_process(times: int, processes: int) -> None:
    (sample,), _ = measure([system("Spin")], {"c": {"cpu": 0.2}}, repeats=1, times=times, processes=processes)
    assert sample.processes == processes
    assert sample.cpu_seconds == pytest.approx(0.2, rel=0.2)
    assert sample.wall_seconds >= 0.2


@pytest.mark.parametrize("fresh", [True, False])
def test_memory_is_that_of_the_turn(fresh: bool) -> None:
    cases = {"large": {"cpu": 0, "mib": 80}, "small": {"cpu": 0, "mib": 1}}
    samples, _ = measure([system("Spin")], cases, repeats=1, fresh=fresh)
    large, small = samples
    assert large.grown_mib > 75
    assert small.grown_mib < 40
    assert large.peak_mib > large.grown_mib


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Unimportable", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("Fails", "ValueError: no such codec"),
        ("Dies", "its process ended with status 3"),
        ("Unwritten", "AttributeError: module 'tests.bench.contenders' has no attribute 'Unwritten'"),
    ],
)
def test_a_system_that_fails_is_reported_and_the_others_go_on(name: str, reason: str) -> None:
    samples, failures = measure([system(name), system("Spin")], CASES, repeats=1)
    assert failures == {name: reason}
    assert [sample.system for sample in samples] == ["Spin", "Spin"]
