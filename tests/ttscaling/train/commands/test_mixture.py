"""The options of `internvl3 train ratio`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.ttscaling.train.jobs import job
from ttscaling.train.cli import app
from ttscaling.train.commands.mixture import shares_of


def test_shares_are_numbers_or_fractions() -> None:
    assert shares_of("1/8, 0.25,1/2") == [0.125, 0.25, 0.5]


@pytest.mark.parametrize("shares", ["1/0", "a,b", "", "1/8;1/4", "1/8,", "nan"])
def test_other_shares_are_refused_in_one_line(shares: str, tmp_path: Path) -> None:
    material = job(tmp_path)
    arguments = ["--model", material.model, "--data", material.data, "--heldout", material.data]
    arguments += ["--output", tmp_path / "ratio", "--language-shares", shares]
    result = CliRunner().invoke(app, ["ratio", *map(str, arguments)])
    assert result.exit_code == 1
    assert "write numbers or fractions between 0 and 1 with commas" in result.output
    assert "Traceback" not in result.output and not (tmp_path / "ratio").exists()
