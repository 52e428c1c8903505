"""Files with one JSON object on each line are streamed, read by index, and written completely."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ttscaling.records import jsonl
from ttscaling.records.bad_records import BadRecords, RecordError, TooManyBadRecordsError
from ttscaling.records.jsonl import LineFile, parse_line, read_records, write_records


def number_of(data: Mapping[str, Any]) -> int:
    if "n" not in data:
        raise RecordError("'n' is missing: add it")
    return int(data["n"])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [{"n": 1, "text": "línea\n書"}, {"n": 2, "nested": {"a": [1.5, None]}}]
    path = tmp_path / "new" / "rows.jsonl"
    assert write_records(path, rows) == 2
    assert list(read_records(path, dict, BadRecords(allowed=0))) == rows


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_records(path, [{"n": 1}])
    with pytest.raises(TypeError):
        write_records(path, [{"n": 2}, {"n": {1, 2}}])
    assert list(read_records(path, number_of, BadRecords())) == [1]


def test_bad_lines_are_named_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 1}\n\n{"n": \n[1]\n{"m": 2}\n\xff\xfe\n{"n": 7}')
    bad_records = BadRecords(allowed=0.9)
    assert list(read_records(path, number_of, bad_records)) == [1, 7]
    assert (bad_records.good, bad_records.bad) == (2, 4)
    for line, problem in zip(
        (3, 4, 5, 6), ("not JSON", "not an object", "'n' is missing", "UTF-8"), strict=True
    ):
        assert any(
            f"rows.jsonl:{line}: " in example and problem in example for example in bad_records.examples
        )


@pytest.mark.parametrize("value", [b'"\\ud800"', b"[" * 100_000], ids=["half a character", "too deep"])
def test_text_that_cannot_be_encoded_or_is_too_deep_is_a_bad_line(value: bytes) -> None:
    with pytest.raises(RecordError, match=r"a\.jsonl:1: the line is not JSON"):
        parse_line(b'{"a": ' + value + b"]" * value.count(b"[") + b"}", dict, "a.jsonl:1")


def test_a_character_written_as_two_escapes_is_text() -> None:
    assert parse_line(b'{"a": "\\ud83d\\ude00"}', dict, "a.jsonl:1") == {"a": "\U0001f600"}


def test_a_file_of_bad_lines_stops_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n' * 50 + "oops\n")
    with pytest.raises(TooManyBadRecordsError, match=r"rows\.jsonl:51"):
        list(read_records(path, number_of, BadRecords(allowed=0.01)))


def test_records_are_read_only_when_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\nbroken\n')
    records = read_records(path, number_of, BadRecords(allowed=0))
    assert next(records) == 1
    assert next(records) == 2
    with pytest.raises(TooManyBadRecordsError):
        next(records)


def test_lines_by_number_are_those_of_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 1}\r\n\n  \n{"n": 2}\nbroken\n{"n": 4}')
    file = LineFile(path)
    assert len(file) == 4
    assert [file.record(index, number_of) for index in (3, 0, 1)] == [4, 1, 2]
    with pytest.raises(RecordError, match=r"rows\.jsonl:5: the line is not JSON"):
        file.record(2, number_of)


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 40)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n' + '{"n": ' + "1" * 200 + '}\n{"n": 3}\n')
    bad_records = BadRecords(allowed=0.9)
    assert list(read_records(path, number_of, bad_records)) == [1, 3]
    assert "longer than" in bad_records.examples[0]
    file = LineFile(path)
    assert (len(file), file.record(2, number_of)) == (3, 3)
    with pytest.raises(RecordError, match="longer than"):
        file.record(1, number_of)


def test_a_pointer_of_git_lfs_is_named() -> None:
    line = b"version https://git-lfs.github.com/spec/v1\n"
    with pytest.raises(RecordError, match=r"a\.jsonl:1: the file is a pointer of git-lfs.*`git lfs pull`"):
        parse_line(line, dict, "a.jsonl:1")
