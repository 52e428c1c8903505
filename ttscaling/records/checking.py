"""Training data looked through before a run: every record parsed, every path of its media followed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .bad_records import BadRecords, RecordError
from .chats import parse_chat
from .jsonl import LineFile
from .judged_steps import parse_judged
from .marked_steps import parse_marked
from .media_paths import media_path
from .meta import DataSet
from .pairs import parse_pair


class HasImages(Protocol):
    """What the formats' records have in common."""

    @property
    def images(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Checked:
    """What was found in a data set. `media` counts images and videos; `length` notes a wrong `length`."""

    name: str
    faults: BadRecords
    media: int
    length: str | None

    @property
    def passed(self) -> bool:
        return not self.faults.bad and self.length is None

    def summary(self) -> str:
        """A few lines for a person."""
        notes = [] if self.length is None else [self.length]
        counted = f"{self.name}: {self.faults.good} good records with {self.media} images and videos"
        return "\n  ".join([counted, *notes, *([self.faults.summary()] if self.faults.bad else [])])


def parser_of(form: str) -> Callable[[Mapping[str, Any]], HasImages]:
    """The parser of a published format, by its short name. Raises ValueError for another name."""
    parsers: dict[str, Callable[[Mapping[str, Any]], HasImages]] = {
        "chats": parse_chat,
        "pairs": parse_pair,
        "judged": parse_judged,
        "marked": parse_marked,
    }
    if form not in parsers:
        raise ValueError(f"there is no format {form!r}: use {', '.join(parsers)}")
    return parsers[form]


def check_data_set(data_set: DataSet, parse: Callable[[Mapping[str, Any]], HasImages]) -> Checked:
    """Look through a data set. Media are found, not decoded.

    Raises:
        OSError: the annotation can't be read.
    """
    file, media = LineFile(data_set.annotation), 0
    faults = BadRecords(allowed=1.0, tell=lambda problem: None)  # the summary tells

    def followed(data: Mapping[str, Any]) -> int:
        record = parse(data)
        paths = [path for path in (*record.images, getattr(record, "video", None)) if path]
        for path in paths:
            media_path(data_set.root, path)
        return len(paths)

    for index in range(len(file)):
        try:
            media += file.record(index, followed)
        except RecordError as error:
            faults.reject(str(error))
        else:
            faults.accept()
    length = None
    if data_set.length is not None and data_set.length != len(file):
        length = f"meta.json says {data_set.length} records, the file has {len(file)}: correct the 'length'"
    return Checked(data_set.name, faults, media, length)
