"""A folder keeps what its results depend on, and names what differs."""

from pathlib import Path

import pytest

from clients.video_jobs.digest import digest
from clients.video_jobs.ledger.identity import (
    FILE_NAME,
    OtherJob,
    check_identity,
    note_progress,
    read_manifest,
)

IDENTITY = {"config": {"strategy": "window", "temperature": 0}, "server": {"policy": {"checkpoint": "3f0c"}}}


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    check_identity(tmp_path, IDENTITY)
    check_identity(tmp_path, dict(reversed(IDENTITY.items())))
    note_progress(tmp_path, {"done": 3})
    check_identity(tmp_path, IDENTITY)
    manifest = read_manifest(tmp_path)
    assert (manifest["hash"], manifest["progress"]) == (digest(IDENTITY), {"done": 3})


def test_another_setting_is_refused_by_name(tmp_path: Path) -> None:
    check_identity(tmp_path, IDENTITY)
    other = IDENTITY | {"server": {"policy": {"checkpoint": "91ab"}}}
    with pytest.raises(OtherJob, match=r'server\.policy\.checkpoint is "3f0c" there and "91ab" now'):
        check_identity(tmp_path, other)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"identity": 1', "\x00"])
def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(OtherJob):
        check_identity(tmp_path, IDENTITY)
    with pytest.raises(OtherJob):
        read_manifest(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == content
