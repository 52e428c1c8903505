import json
from pathlib import Path

import pytest

from ttscaling.asking.results_file import ResultsFile
from ttscaling.console import CommandError

IDENTITY = {"seed": 7, "kinds": ["a", "b"]}


def test_a_second_run_reads_the_rows_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "rows.jsonl"
    with ResultsFile(path, IDENTITY) as results:
        results.add({"question": 0, "text": "é\n"})
        assert path.read_bytes().endswith(b"\n"), "each row is written at once, not at the end"
    with ResultsFile(path, IDENTITY) as results:
        results.add({"question": 1})
        assert results.rows == [{"question": 0, "text": "é\n"}, {"question": 1}]
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with ResultsFile(path, IDENTITY) as results:
        results.add({"question": 0})
    with path.open("a") as file:
        file.write('{"question": 1, "te')
    with ResultsFile(path, IDENTITY) as results:
        assert results.rows == [{"question": 0}]
        results.add({"question": 1})
    assert json.loads(path.read_text().splitlines()[-1]) == {"question": 1}


def test_the_rows_of_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    ResultsFile(path, IDENTITY).__exit__(None, None, None)
    with pytest.raises(CommandError, match=r"seed is 7 there and 8 now.*name another file"):
        ResultsFile(path, {**IDENTITY, "seed": 8})


def test_every_setting_that_differs_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    setup = {"policy": {"name": "nano", "checkpoint": "3f0c", "sampling": {"top_p": 0.9}}, "critic": {}}
    other = {"policy": {"name": "nano", "checkpoint": "77e1", "sampling": {}}, "critic": {}}
    ResultsFile(path, {**IDENTITY, "server": setup}).__exit__(None, None, None)
    with pytest.raises(CommandError) as raised:
        ResultsFile(path, {**IDENTITY, "temperature": 0.5, "server": other})
    message = str(raised.value)
    assert 'server.policy.checkpoint is "3f0c" there and "77e1" now' in message
    assert "server.policy.sampling.top_p is 0.9 there and absent now" in message
    assert "temperature is absent there and 0.5 now" in message and "\n" not in message
    assert "seed" not in message and "critic" not in message and "policy.name" not in message
    ResultsFile(path, {**IDENTITY, "server": setup}).__exit__(None, None, None)


def test_an_old_file_that_names_no_server_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with ResultsFile(path, IDENTITY) as results:
        results.add({"question": 0})
    content = path.read_text()
    with pytest.raises(
        CommandError, match=r"doesn't say which checkpoints.*older version.*name another file"
    ):
        ResultsFile(path, {**IDENTITY, "server": {"policy": {"name": "nano"}}})
    assert path.read_text() == content


@pytest.mark.parametrize("content", ['{"question": 1}\n', "a diary\n", "[1]\n"])
def test_a_file_of_another_kind_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(CommandError, match="name another file"):
        ResultsFile(path, IDENTITY)
    assert path.read_text() == content


def test_without_a_path_rows_are_only_in_memory(tmp_path: Path) -> None:
    with ResultsFile(None, IDENTITY) as results:
        results.add({"question": 0})
        assert results.rows == [{"question": 0}]


def test_a_path_that_cannot_be_written_raises_a_command_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be written"):
        ResultsFile(tmp_path, IDENTITY)
