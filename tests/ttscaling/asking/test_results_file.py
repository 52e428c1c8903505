import json
from pathlib import Path

import pytest

from ttscaling.asking.results_file import ResultsFile
from ttscaling.console import CommandError

IDENTITY = {"seed": 7, "kinds": ["a", "b"]}


def test_a_second_run_finds_what_the_first_wrote(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "rows.jsonl"
    with ResultsFile(path, IDENTITY) as ledger:
        ledger.add({"question": 0, "text": "é\n"})
        assert path.read_bytes().endswith(b"\n"), "kept at once, not at the end"
    with ResultsFile(path, IDENTITY) as ledger:
        ledger.add({"question": 1})
        assert ledger.rows == [{"question": 0, "text": "é\n"}, {"question": 1}]
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with ResultsFile(path, IDENTITY) as ledger:
        ledger.add({"question": 0})
    with path.open("a") as file:
        file.write('{"question": 1, "te')
    with ResultsFile(path, IDENTITY) as ledger:
        assert ledger.rows == [{"question": 0}]
        ledger.add({"question": 1})
    assert json.loads(path.read_text().splitlines()[-1]) == {"question": 1}


def test_the_rows_of_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    ResultsFile(path, IDENTITY).__exit__(None, None, None)
    with pytest.raises(CommandError, match=r"seed 7 there, 8 now.*name another file"):
        ResultsFile(path, {**IDENTITY, "seed": 8})


@pytest.mark.parametrize("content", ['{"question": 1}\n', "a diary\n", "[1]\n"])
def test_another_file_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(CommandError, match="name another file"):
        ResultsFile(path, IDENTITY)
    assert path.read_text() == content


def test_without_a_path_nothing_is_kept(tmp_path: Path) -> None:
    with ResultsFile(None, IDENTITY) as ledger:
        ledger.add({"question": 0})
        assert ledger.rows == [{"question": 0}]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be written"):
        ResultsFile(tmp_path, IDENTITY)
