"""Test the V2PE experiment's table and page, with policies that exist already."""

import json
import shutil
from pathlib import Path

import pytest

from clients.cli import main
from ttscaling.train.nano.experiments.mpo.run import embedded


def test_the_table_of_policies_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No policy is trained. Every delta gets the same questions and pages, and the report is written."""
    runs, page = tmp_path / "runs", tmp_path / "v2pe.md"
    for name in ("base", "ordinary-base", "v2pe", "ordinary"):
        shutil.copytree(embedded("policy"), runs / name)
    command = ["train", "nano-v2pe", "--directory", str(runs), "--questions", "3", "--lengths", "1,2"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--page", str(page), "--json"])
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = report["media"]["images"]
    assert [row["delta"] for row in rows[:6]] == ["none", "1", "1/4", "1/16", "1/64", "1/256"]
    assert (
        rows[0]["accuracy"] == rows[1]["accuracy"]
    )  # both rows have the same policy and the same positions here
    positions = [row["position"] for row in rows if row["times"] == 2]
    assert positions[0] == positions[1] > positions[2] > positions[3] >= positions[5]
    assert "| 1/256 |" in page.read_text() and "2x (256 tokens)" in page.read_text()
    assert (tmp_path / "v2pe.png").stat().st_size > 1000
