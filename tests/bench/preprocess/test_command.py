"""The systems of `internvl3 bench preprocess` make the same tiles from the same image."""

from pathlib import Path

import numpy as np
import pytest

from bench.harness.contest import System, measure
from bench.harness.peer_packages import install_peers, peers_folder
from bench.preprocess.command import OURS, pixel_differences, rows
from bench.preprocess.systems import Ours, OursNormalised, photo
from tests.terminal import unwrapped

PEERS = peers_folder("bench")
SYSTEMS = [
    System(OURS, "bench.preprocess.systems:Ours"),
    System("ours + normalise", "bench.preprocess.systems:OursNormalised"),
    System("transformers, Pillow", "bench.preprocess.systems:TransformersPil"),
]
needs_torchvision = pytest.mark.skipif(
    not PEERS.exists(),
    reason="no torchvision: `internvl3 bench preprocess` installs it into runs/bench-peers",
)


def test_photo_is_the_same_for_all_and_detailed() -> None:
    pixels = np.asarray(photo(300, 200))
    np.testing.assert_array_equal(pixels, np.asarray(photo(300, 200)))
    assert pixels.shape == (200, 300, 3)
    assert len(np.unique(pixels)) > 150


@pytest.mark.parametrize("contender", [Ours, OursNormalised])
def test_summary_is_the_pixels(contender: type[Ours], tmp_path: Path) -> None:
    system = contender()
    prepared = system.prepare({"size": (900, 500), "folder": str(tmp_path)})
    pixels = np.load(system.summary(system.work(prepared)))
    assert pixels.shape == (3, 448, 448, 3)
    np.testing.assert_allclose(pixels[-1].mean(), np.asarray(prepared[0]).mean(), atol=1)


@pytest.mark.parametrize(
    ("peer", "largest"),
    [
        (None, 1e-3),
        pytest.param(
            System("vLLM", "bench.preprocess.systems:Vllm", (PEERS,)), 1e-3, marks=needs_torchvision
        ),
        # torchvision's resizing isn't exact.
        pytest.param(
            System("transformers", "bench.preprocess.systems:Transformers", (PEERS,)),
            3,
            marks=needs_torchvision,
        ),
    ],
    ids=["Pillow", "vLLM", "torchvision"],
)
def test_peers_give_our_pixels(peer: System | None, largest: float, tmp_path: Path) -> None:
    systems = [*SYSTEMS, peer] if peer else SYSTEMS
    cases = {"small": {"size": (700, 400), "folder": str(tmp_path)}}
    samples, failures = measure(systems, cases, repeats=1)
    assert failures == {}
    differences = pixel_differences(samples)
    assert differences.keys() == {(system.name, "small") for system in systems}
    assert max(differences.values()) <= largest
    table = rows(samples, {"small": 2.0}, differences)
    assert [row["system"] for row in table] == [system.name for system in systems]
    assert [row["ratio"] for row in table] == [2.0, *[None] * (len(systems) - 1)]
    assert all(row["images_per_core_s"] == pytest.approx(1000 / row["cpu_ms_per_image"]) for row in table)


def test_tiles_in_another_number_are_no_match(tmp_path: Path) -> None:
    cases = {"small": {"size": (700, 400), "folder": str(tmp_path)}}
    samples, _ = measure(SYSTEMS[:2], cases, repeats=1)
    np.save(samples[1].result, np.zeros((2, 448, 448, 3), np.float32))
    assert pixel_differences(samples)["ours + normalise", "small"] == float("inf")


def test_peers_that_cannot_be_installed_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "bench.txt").write_text("./no-such-folder\n")
    monkeypatch.setattr("bench.harness.peer_packages.ROOT", tmp_path)
    folder = install_peers(Console())
    shown = capsys.readouterr().out
    assert "could not be installed" in unwrapped(shown)
    assert "no-such-folder" in shown
    assert not (folder.parent / "installed.txt").exists()
