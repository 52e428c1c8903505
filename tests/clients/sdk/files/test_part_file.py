"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from clients.sdk.files.part_file import PartFile


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with PartFile(path) as file:
        file.write(b"one")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [path]


def test_after_a_failure_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="broke"), PartFile(path) as file:
        file.write(b"new")
        raise ValueError("it broke")
    assert [(one, one.read_bytes()) for one in tmp_path.iterdir()] == [(path, b"old")]
