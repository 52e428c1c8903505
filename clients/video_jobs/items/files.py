"""Find the videos of a folder or a pattern, and make an item of each."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .item import Item, ids_of

SUFFIXES = frozenset(
    (".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")
)
SUBTITLES = (".srt", ".vtt")


def folder_videos(folder: Path) -> list[Path]:
    """Return the video files of a folder and its sub-folders in the order of their names.

    Hidden files and folders are left out, since downloads in progress use them.
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not _is_hidden(path.relative_to(folder)))


def matching_videos(pattern: str) -> list[Path]:
    """Return the files that a pattern matches (`**` matches folders) in the order of their names."""
    return sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())


def fixed_folder(pattern: str) -> Path:
    """Return the folder of a pattern above its first wildcard."""
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def items_of(videos: Iterable[Path], folder: Path, questions: Sequence[str]) -> Iterator[Item]:
    """Yield an item for each video and question. Its id is the path of the video below `folder`.

    So two files with one name in two folders have two ids. Subtitles of the same name beside a video are
    taken.
    """
    for video in videos:
        base = video.relative_to(folder).as_posix()
        for item_id, question in zip(ids_of(base, len(questions)), questions, strict=True):
            yield Item(item_id, str(video), question, subtitles=subtitles_of(video))


def subtitles_of(video: Path) -> str | None:
    """Return the .srt or .vtt file beside a video that has its name, or None."""
    return next(
        (str(path) for path in map(video.with_suffix, SUBTITLES) if path.is_file()),
        None,
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
