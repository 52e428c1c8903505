"""Unpack the zip archives of a downloaded data set, also those that are split into parts."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .joined_files import JoinedFiles

_PART = re.compile(r"(.+\.zip)(?:_[a-z]{2,}|\.\d{3})")
MARKERS = ".unpacked"
"""The folder, in that of a data set, with an empty file for each archive that is unpacked completely."""
_ENCRYPTED = 1
_PIECE = 2**20


@dataclass(frozen=True)
class Archive:
    """A zip archive in a folder, and its files, which are several if it is split."""

    name: str
    parts: tuple[Path, ...]


def archives_in(folder: Path) -> list[Archive]:
    """Return the archives of a folder. A whole archive is taken before parts of the same name."""
    split: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _PART.fullmatch(path.name):
            split.setdefault(match[1], []).append(path)
    whole = {path.name: (path,) for path in sorted(folder.glob("*.zip")) if path.is_file()}
    return [Archive(name, tuple(parts)) for name, parts in sorted({**split, **whole}.items())]


def is_unpacked(folder: Path, name: str) -> bool:
    """Return whether `unpack` has finished with this archive."""
    return (folder / MARKERS / name).exists()


def unpack(
    archive: Archive,
    folder: Path,
    *,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Unpack an archive into a folder and show how far it is.

    What an earlier attempt has unpacked is kept. A file appears under its name when it is complete, and its
    checksum is checked.

    Args:
        archive: the archive.
        folder: where its files go.
        free_bytes: returns the free bytes of the folder's disk.

    Raises:
        ValueError: the archive is damaged or holds something that isn't a plain file below the folder.
        OSError: the disk is too small or a file can't be written.
    """
    try:
        with (
            BufferedReader(JoinedFiles(archive.parts), _PIECE) as joined,
            zipfile.ZipFile(joined) as file,
        ):
            members = _checked_members(archive, file)
            missing = [one for one in members if not _is_there(folder / one.filename, one.file_size)]
            _check_disk(archive, folder, missing, free_bytes(folder))
            _write(archive, file, missing, folder, total=sum(one.file_size for one in members))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        parts = ", ".join(path.name for path in archive.parts)
        raise ValueError(
            f"{archive.name} is damaged or a part is missing ({error}): remove {parts} in {folder} and fetch "
            "again"
        ) from error
    marker = folder / MARKERS / archive.name
    marker.parent.mkdir(exist_ok=True)
    marker.touch()


def _checked_members(archive: Archive, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of an archive. Raises ValueError if one would lie outside of the folder."""
    members = [
        one for one in file.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")
    ]
    for one in members:
        path = PurePosixPath(one.filename)
        kind = stat.S_IFMT(one.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in one.filename:
            problem = "leads out of the folder"
        elif kind not in (0, stat.S_IFREG):
            problem = "is a link or another special file"
        elif one.flag_bits & _ENCRYPTED:
            problem = "is encrypted"
        else:
            continue
        raise ValueError(f"{archive.name} isn't unpacked, because {one.filename!r} in it {problem}")
    return members


def _check_disk(archive: Archive, folder: Path, missing: Sequence[zipfile.ZipInfo], free: int) -> None:
    needed = sum(one.file_size for one in missing)
    if needed > free:
        raise OSError(
            f"{archive.name} needs {needed / 1e9:.1f} GB more in {folder}, and {free / 1e9:.1f} GB are free: "
            "free the rest, or fetch into another folder with --output"
        )


def _write(
    archive: Archive, file: zipfile.ZipFile, missing: Sequence[zipfile.ZipInfo], folder: Path, *, total: int
) -> None:
    console = Console(stderr=True)
    title = f"unpacking {archive.name}"
    there = total - sum(one.file_size for one in missing)
    if not console.is_terminal:
        console.print(f"{title}: {len(missing)} files, {(total - there) / 1e9:.2f} GB", soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, completed=there)
        for one in missing:
            target = folder / one.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(target.name + ".unfinished")
            with file.open(one) as source, unfinished.open("wb") as written:
                shutil.copyfileobj(source, written, _PIECE)
            unfinished.replace(target)
            bar.advance(task, one.file_size)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
