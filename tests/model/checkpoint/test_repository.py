"""The text files of a checkpoint."""

from pathlib import Path

import pytest

from model.checkpoint.repository import read_file


def test_a_file_of_a_folder_is_read(tmp_path: Path):
    (tmp_path / "a.txt").write_text("Grüße", encoding="utf-8")
    assert read_file(tmp_path, "a.txt", revision=None, token=None) == "Grüße"
    assert read_file(tmp_path, "b.txt", revision="main", token="secret") is None


@pytest.mark.parametrize("name", ["a/b/c.gguf", "no repository: at all"])
def test_what_is_neither_a_folder_nor_a_repository_has_no_files(name: str):
    assert read_file(name, "a.txt", revision=None, token=None) is None
