"""What a benchmark prints, and how its ratio is computed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from bench.harness.contest import Sample
from bench.harness.output import print_report
from bench.harness.report import Report, machine, ratio, versions
from ttscaling.reports.plots import check_plot

REPORT = Report(
    bench="example",
    ratio=2.5,
    ratio_of="CPU time of the fastest peer over ours",
    column="cpu_ms",
    rows=[
        {"case": "small", "system": "ours", "cpu_ms": 2.0, "difference": 0.0},
        {"case": "small", "system": "[peer]", "cpu_ms": 5.0, "difference": None},
    ],
    versions={"pillow": "1"},
    failures={"other": "ImportError: [no] library"},
)


def samples(**cpu_seconds: list[float]) -> list[Sample]:
    return [
        Sample(system, "c", 1, repeat, seconds, 2 * seconds, 0, 0, None)
        for system, figures in cpu_seconds.items()
        for repeat, seconds in enumerate(figures)
    ]


def test_ratio_is_over_the_best_peer_repeat_by_repeat() -> None:
    # The machine was slow during the third repeat, which slowed both.
    timed = samples(ours=[1, 2, 10], slow=[9, 9, 90], fast=[3, 4, 30])
    assert ratio(timed, "c", ours="ours", peers=("slow", "fast")) == 3
    assert ratio(timed, "c", ours="ours", peers=("slow",)) == 9
    assert ratio(timed, "c", ours="ours", peers=("slow", "fast"), figure="wall_seconds") == 3


def test_a_system_that_is_no_peer_does_not_count() -> None:
    assert ratio(samples(ours=[1], ours_too=[0.5], peer=[3]), "c", ours="ours", peers=("peer",)) == 3


def test_no_ratio_without_both_sides() -> None:
    assert ratio(samples(ours=[1]), "c", ours="ours", peers=("peer",)) is None
    assert ratio(samples(peer=[1]), "c", ours="ours", peers=("peer",)) is None
    assert ratio(samples(ours=[1], peer=[1]), "other case", ours="ours", peers=("peer",)) is None


def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, as_json=True, plot=None)
    shown = capsys.readouterr().out
    record = json.loads(shown.splitlines()[-1])
    assert record["ratio"] == 2.5
    assert record["rows"] == REPORT.rows
    assert record["versions"] == {"pillow": "1"}
    assert record["machine"].keys() == machine().keys()
    assert record["failures"] == REPORT.failures


def test_a_person_sees_rows_ratio_and_who_failed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, as_json=False, plot=None)
    shown = capsys.readouterr().out
    for text in ("[peer]", "ratio 2.50", "other could not run: ImportError: [no] library", "pillow 1"):
        assert text in shown
    assert "{" not in shown


def test_without_a_ratio_the_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_:
        print_report(replace(REPORT, ratio=None), as_json=True, plot=None)
    assert exit_.value.exit_code == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ratio"] is None


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_plot_is_drawn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"plot{suffix}"
    check_plot(path)
    print_report(REPORT, as_json=False, plot=path)
    assert path.stat().st_size > 1000


def test_versions_come_from_the_peers_folder_first(tmp_path: Path) -> None:
    folder = tmp_path / "pillow-0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 0.1\n")
    known = versions(["pillow", "numpy", "a-package-that-nobody-has"], [tmp_path])
    assert known["pillow"] == "0.1"
    assert set(known) == {"python", "pillow", "numpy"}
