"""A meta.json is read and written, and all its problems are named at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from ttscaling.records.meta import DataSet, read_meta, write_meta


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/a.jsonl").touch()
    return tmp_path


def written(base: Path, content: Any) -> Path:
    path = base / "meta.json"
    path.write_text(json.dumps(content))
    return path


def test_a_published_entry(base: Path) -> None:
    entry = {
        "root": "images",
        "annotation": "sets/a.jsonl",
        "data_augment": True,
        "repeat_time": 2,
        "length": 10,
        "max_dynamic_patch": 6,
        "conv_style": "kept",
    }
    (data_set,) = read_meta(written(base, {"a": entry}), base=base)
    assert data_set == DataSet(
        name="a",
        root=base / "images",
        annotation=base / "sets/a.jsonl",
        data_augment=True,
        repeat_time=2.0,
        length=10,
        max_dynamic_patch=6,
        extra={"conv_style": "kept"},
    )


def test_written_as_read(base: Path) -> None:
    entries = {
        "a": {"annotation": "sets/a.jsonl"},
        "b": {"root": "r", "annotation": str(base / "sets/a.jsonl")},
    }
    data_sets = read_meta(written(base, entries), base=base)
    write_meta(base / "again.json", data_sets, base=base)
    assert read_meta(base / "again.json", base=base) == data_sets


def test_a_repeated_name_is_refused(base: Path) -> None:
    (base / "meta.json").write_text(
        '{"a": {"annotation": "sets/a.jsonl"}, "a": {"annotation": "sets/b.jsonl"}}'
    )
    with pytest.raises(ValueError, match="a is there twice: give each entry a different name"):
        read_meta(base / "meta.json", base=base)


def test_all_problems_are_named(base: Path) -> None:
    entries = {
        "missing": {"annotation": "sets/none.jsonl"},
        "format": {"annotation": "sets/a.json"},
        "numbers": {
            "annotation": "sets/a.jsonl",
            "repeat_time": 0,
            "max_dynamic_patch": 0,
            "length": -1,
            "data_augment": 1,
        },
        "shape": [],
    }
    with pytest.raises(ValueError, match=r"meta\.json can't be used") as error:
        read_meta(written(base, entries), base=base)
    for problem in (
        "missing: there is no file",
        "format: 'annotation' must be the path of a .jsonl file",
        "numbers: 'repeat_time'",
        "numbers: 'max_dynamic_patch'",
        "numbers: 'length'",
        "numbers: 'data_augment'",
        "shape: isn't an object",
    ):
        assert problem in str(error.value)


@pytest.mark.parametrize("content", [{}, [], "x"])
def test_no_data_set(base: Path, content: Any) -> None:
    with pytest.raises(ValueError, match="names no data set"):
        read_meta(written(base, content), base=base)


def test_a_file_of_records_in_its_place_is_named(base: Path) -> None:
    """Whoever has one data set often names its file itself."""
    records = base / "sets/a.jsonl"
    records.write_text('{"question": "1"}\n{"question": "2"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl is a file of records: name a meta\.json that lists it"):
        read_meta(records, base=base)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ', "\ud800", "version https://git-lfs.github.com/spec/v1"]
)
def test_what_is_no_json_is_refused(content: str, base: Path) -> None:
    path = base / "meta.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"meta\.json can't be read as JSON"):
        read_meta(path, base=base)
