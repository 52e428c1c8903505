"""Unpacking of archives: whole, in parts, again, damaged, hostile, and on a small disk."""

import stat
import zipfile
from pathlib import Path

import pytest

from tests.ttscaling.train.fetch.published_layouts import write_split, zipped
from ttscaling.train.fetch.unpacking import Archive, archives_in, is_unpacked, unpack

FILES = {f"images/a/{number}.txt": str(number).encode() * 1000 for number in range(20)}


def split_archive(folder: Path, files: dict[str, bytes] = FILES) -> Archive:
    write_split(folder, "images.zip", zipped(files), 4)
    (archive,) = archives_in(folder)
    return archive


def unpacked_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "images").rglob("*.*")}


def test_parts_are_unpacked_without_a_joined_copy(tmp_path: Path) -> None:
    archive = split_archive(tmp_path)
    assert [path.name for path in archive.parts] == [f"images.zip_a{letter}" for letter in "abcd"]
    assert not is_unpacked(tmp_path, "images.zip")
    unpack(archive, tmp_path)
    assert unpacked_files(tmp_path) == FILES
    assert is_unpacked(tmp_path, "images.zip")
    assert not (tmp_path / "images.zip").exists()


def test_names_of_archives(tmp_path: Path) -> None:
    for name in ("b.zip_ab", "b.zip_aa", "a.zip", "c.zip", "c.zip_aa", "d.zip.002", "d.zip.001", "e.json"):
        (tmp_path / name).touch()
    found = {archive.name: [path.name for path in archive.parts] for archive in archives_in(tmp_path)}
    assert found == {
        "a.zip": ["a.zip"],
        "b.zip": ["b.zip_aa", "b.zip_ab"],
        "c.zip": ["c.zip"],
        "d.zip": ["d.zip.001", "d.zip.002"],
    }


def test_what_is_there_is_kept_and_what_is_cut_off_is_written_again(tmp_path: Path) -> None:
    archive = split_archive(tmp_path)
    unpack(archive, tmp_path)
    kept = tmp_path / "images/a/3.txt"
    before = kept.stat()
    (tmp_path / "images/a/4.txt").unlink()
    (tmp_path / "images/a/5.txt").write_bytes(b"5")
    (tmp_path / "images/a/6.txt.unfinished").write_bytes(b"6")
    unpack(archive, tmp_path)
    unpack(archive, tmp_path)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (tmp_path / "images/a/6.txt.unfinished").unlink()
    assert unpacked_files(tmp_path) == FILES


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "images/../../out.txt", "images\\..\\..\\out.txt"]
)
def test_a_path_out_of_the_folder_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    folder.mkdir(parents=True)
    archive = split_archive(folder, {**FILES, name: b"no"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack(archive, folder)
    assert not (folder / "images").exists()
    assert not list(tmp_path.rglob("out.txt"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("images/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        file.writestr(entry, "/etc")
        file.writestr("images/link/passwd", "no")
    (archive,) = archives_in(tmp_path)
    with pytest.raises(ValueError, match=r"'images/link' in it is a link"):
        unpack(archive, tmp_path)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("damage", ["missing", "changed", "no zip"])
def test_a_damaged_archive_is_named(damage: str, tmp_path: Path) -> None:
    archive = split_archive(tmp_path)
    if damage == "missing":
        archive.parts[1].unlink()
        (archive,) = archives_in(tmp_path)
    elif damage == "changed":
        content = archive.parts[0].read_bytes()
        archive.parts[0].write_bytes(content[:50] + bytes(byte ^ 1 for byte in content[50:60]) + content[60:])
    else:
        archive.parts[0].write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        archive = Archive("images.zip", archive.parts[:1])
    with pytest.raises(
        ValueError, match=r"images\.zip is damaged or a part is missing .*: remove images\.zip_aa"
    ):
        unpack(archive, tmp_path)
    assert not is_unpacked(tmp_path, "images.zip")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    archive, total = split_archive(tmp_path), sum(map(len, FILES.values()))
    with pytest.raises(OSError, match=r"images\.zip needs 0\.0 GB more .* another folder with --output"):
        unpack(archive, tmp_path, free_bytes=lambda folder: total - 1)
    assert not (tmp_path / "images").exists()
    unpack(archive, tmp_path, free_bytes=lambda folder: total)
    (tmp_path / "images/a/1.txt").unlink()
    unpack(archive, tmp_path, free_bytes=lambda folder: 1000)  # Only what is missing needs space.
