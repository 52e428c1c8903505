"""Read what a job is about: a folder, a pattern, a manifest or one video file."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .files import fixed_folder, folder_videos, items_of, matching_videos
from .item import BadItem, Item
from .manifest import SUFFIXES as MANIFESTS
from .manifest import manifest_items


class SourceError(Exception):
    """There is nothing to ask about. The message says what to change."""


@dataclass(frozen=True)
class Source:
    """What kind of source a job has, and its items; those that can't be asked are in `bad`."""

    kind: Literal["folder", "pattern", "manifest", "video"]
    items: tuple[Item, ...]
    bad: tuple[BadItem, ...] = ()


def read_source(source: str, questions: Sequence[str]) -> Source:
    """Return the items of a folder, a pattern such as `videos/**/*.mp4`, a manifest or a video file.

    `questions` are asked about each video; a manifest may have its own. Raises SourceError if there is no
    such source, it can't be read, it has no items, or there is no question.
    """
    path = Path(source)
    try:
        if path.is_file() and path.suffix.lower() in MANIFESTS:
            entries = list(manifest_items(path, questions))
            items = tuple(entry for entry in entries if isinstance(entry, Item))
            return _filled(
                Source("manifest", items, tuple(entry for entry in entries if isinstance(entry, BadItem))),
                source,
            )
        if path.is_dir():
            found = _checked(
                Source("folder", tuple(items_of(folder_videos(path), path, questions))), questions
            )
        elif path.is_file():
            found = _checked(Source("video", tuple(items_of([path], path.parent, questions))), questions)
        elif glob.has_magic(source):
            videos = matching_videos(source)
            items = tuple(items_of(videos, fixed_folder(source), questions))
            found = _checked(Source("pattern", items), questions)
        else:
            raise SourceError(f"there is no {source}: name a folder, a pattern, a manifest or a video")
    except OSError as error:
        raise SourceError(f"can't read {error.filename}: {error.strerror}") from error
    return _filled(found, source)


def _checked(source: Source, questions: Sequence[str]) -> Source:
    if not questions:
        raise SourceError("there is no question: pass --question, or a manifest with questions")
    return source


def _filled(source: Source, name: str) -> Source:
    if not source.items and not source.bad:
        raise SourceError(f"there are no videos in {name}")
    return source
