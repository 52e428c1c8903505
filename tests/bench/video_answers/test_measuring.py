"""The table shows what each strategy finds with a model that sees everything in its frames."""

from pathlib import Path

import pytest
from rich.console import Console

from bench.video_answers import material
from bench.video_answers.measuring import Case, chance, measure, truth_of
from bench.video_answers.scoring import Span
from tests.bench.video_answers.knowing_server import knowing_server
from ttscaling.asking.address import Address

CASES = (
    Case("window 8", "window", 8),
    Case("search 24", "search", 24),
    Case("segments", "segments", 24),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "FOLDER", tmp_path_factory.mktemp("bench"))
        patch.setattr(material, "SIZE", (160, 90))
        return material.make_material(2, 6, Console(quiet=True), edges_every=8)


async def table(folder: Path, name: str) -> dict[str, dict]:
    events = [] if name == "empty" else truth_of(folder)
    with knowing_server(events) as url:
        rows = await measure(folder, name, Address(url, {}), folder / "frames", 12, CASES)
    return {row["system"]: row for row in rows}


@pytest.mark.parametrize("name", ["events", "varied"])
async def test_segments_find_what_the_oracle_finds(name: str, folder: Path):
    rows = await table(folder, name)
    assert set(rows) == {"window 8", "search 24", "segments", "chance", "oracle"}
    assert rows["oracle"]["recall"] == rows["segments"]["recall"] == 1
    assert rows["segments"]["precision"] == 1
    assert rows["segments"]["duplicates"] == 0
    assert rows["segments"]["median_error_s"] <= 1
    assert rows["segments"]["visible"] == 1
    assert rows["window 8"]["recall"] <= rows["window 8"]["visible"] < 1
    assert rows["chance"]["recall"] < 0.5
    assert rows["segments"]["requests"] == 16
    assert sum(row.get("decode_passes", 0) for row in rows.values()) == 1
    assert {row.get("problem") for row in rows.values()} == {None}


async def test_the_empty_twin_has_nothing_to_find(folder: Path):
    rows = await table(folder, "empty")
    assert set(rows) == {"window 8", "search 24", "segments"}
    assert {row["invented"] for row in rows.values()} == {0}
    assert {row["recall"] for row in rows.values()} == {1}


def test_chance_grows_with_the_number_of_findings():
    truth = [Span(100, 103, "digit 3")]
    few, many = [Span(0, 3, "digit 3")], [Span(0, 3, "digit 3")] * 400
    assert chance(few, truth, 1000) < 0.1 < 0.5 < chance(many, truth, 1000)
    assert chance([], truth, 1000) == 0
