"""Check training data before a run: parse every record, and look for its images and videos."""

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
    """A record of any format: all have images."""

    @property
    def images(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class CheckedDataSet:
    """The result of checking a data set. `media` counts its images and videos.

    `length_problem` says that meta.json gives a wrong `length`, or is None.
    """

    name: str
    bad_records: BadRecords
    media: int
    length_problem: str | None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with the data set."""
        return not self.bad_records.bad and self.length_problem is None

    def summary(self) -> str:
        """Return the result in a few lines for a person."""
        good = f"{self.name}: {self.bad_records.good} good records with {self.media} images and videos"
        problems = [] if self.length_problem is None else [self.length_problem]
        if self.bad_records.bad:
            problems.append(self.bad_records.summary())
        return "\n  ".join([good, *problems])


def parser_of(form: str) -> Callable[[Mapping[str, Any]], HasImages]:
    """Return the parser of a published format by its short name. Raises ValueError for another name."""
    parsers: dict[str, Callable[[Mapping[str, Any]], HasImages]] = {
        "chats": parse_chat,
        "pairs": parse_pair,
        "judged": parse_judged,
        "marked": parse_marked,
    }
    if form not in parsers:
        raise ValueError(f"there is no format {form!r}: use {', '.join(parsers)}")
    return parsers[form]


def check_data_set(data_set: DataSet, parse: Callable[[Mapping[str, Any]], HasImages]) -> CheckedDataSet:
    """Check every record of a data set. Its media must exist; they aren't decoded.

    Raises:
        OSError: the annotation can't be read.
    """
    file, media = LineFile(data_set.annotation), 0
    bad_records = BadRecords(allowed=1.0, tell=lambda problem: None)  # the summary names them

    def count_media(data: Mapping[str, Any]) -> int:
        record = parse(data)
        paths = [path for path in (*record.images, getattr(record, "video", None)) if path]
        for path in paths:
            media_path(data_set.root, path)
        return len(paths)

    for index in range(len(file)):
        try:
            media += file.record(index, count_media)
        except RecordError as error:
            bad_records.reject(str(error))
        else:
            bad_records.accept()
    problem = None
    if data_set.length is not None and data_set.length != len(file):
        problem = f"meta.json says {data_set.length} records, the file has {len(file)}: correct the 'length'"
    return CheckedDataSet(data_set.name, bad_records, media, problem)
