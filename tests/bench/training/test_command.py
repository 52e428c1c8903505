"""The systems of `internvl3 bench training` do the same work, and the table has what was measured."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.harness.contest import Sample, System, measure
from bench.harness.gpu import bf16_peak
from bench.training.command import OURS, PEERS_FOLDER, TRL, rows, unlike
from bench.training.material import write_material

needs_trl = pytest.mark.skipif(
    not PEERS_FOLDER.exists(), reason="no TRL: `internvl3 bench training` installs it into runs"
)
SAMPLE = Sample(OURS, "a", 1, 0, 2.0, 4.0, 900.0, 50.0, {"supervised": 8})


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("material")
    write_material(folder, "nano", samples=4)
    return {"folder": str(folder), "batch": 2, "steps": 2, "pack_tokens": 2048, "micro_batch": 2}


@pytest.mark.parametrize("kind", ["mpo", "critic"])
def test_ours_trains(case: Mapping[str, Any], kind: str) -> None:
    systems = [System(OURS, "bench.training.systems:Ours")]
    if kind == "mpo":
        systems.append(System("given", "bench.training.systems:OursReferencesGiven"))
    samples, failures = measure(systems, {kind: {**case, "kind": kind}}, repeats=1, fresh=True)
    assert failures == {}
    assert len({sample.result["supervised"] for sample in samples}) == 1
    assert samples[0].result["supervised"] > (8 if kind == "critic" else 100)


@needs_trl
@pytest.mark.parametrize("kind", ["mpo", "critic"])
def test_trl_supervises_the_same_positions(case: Mapping[str, Any], kind: str) -> None:
    systems = [
        System(OURS, "bench.training.systems:Ours"),
        System(TRL, "bench.training.trl:Trl", (PEERS_FOLDER,)),
    ]
    samples, failures = measure(systems, {kind: {**case, "kind": kind}}, repeats=1, fresh=True)
    assert failures == {}
    assert unlike(samples) == {}


def test_other_work_is_no_comparison() -> None:
    other = replace(SAMPLE, system=TRL, result={"supervised": 9})
    assert list(unlike([SAMPLE, other])) == [TRL]
    assert unlike([SAMPLE, replace(SAMPLE, repeat=1, result=None)]) == {}


def test_rows_are_medians() -> None:
    samples = [replace(SAMPLE, cpu_seconds=seconds, repeat=n) for n, seconds in enumerate((2.0, 8.0, 4.0))]
    (row,) = rows(samples, {"a": 1.5}, "cpu_seconds", num_samples=64)
    assert row == {"case": "a", "system": OURS, "samples_per_s": 16.0, "added_mib": 50.0, "ratio": 1.5}


def test_a_gpu_has_a_share_of_its_peak() -> None:
    result = {"supervised": 8, "gpu": "NVIDIA H100 80GB HBM3", "gpu_mib": 2000.0, "flops": 2 * 989e12}
    (row,) = rows([replace(SAMPLE, result=result)], {}, "wall_seconds", num_samples=8)
    assert row["added_mib"] == 2000.0
    assert row["bf16_share"] == pytest.approx(0.5)
    assert bf16_peak("a card of the future") is None


def test_material_has_a_real_size(tmp_path: Path) -> None:
    from model.checkpoint.config_file import described, model_config
    from ttscaling.train.network.memory import parameters

    write_material(tmp_path, "1B", samples=1)
    assert described(tmp_path / "checkpoint").tokens_per_tile == 256
    assert sum(parameters(model_config(tmp_path / "checkpoint")).values()) == pytest.approx(0.94e9, rel=0.02)
