"""Write the results of a job in the formats that other programs read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from clients.video_jobs.digest import digest
from clients.video_jobs.ledger.identity import write_json, write_texts

from .captions import srt, webvtt_chapters
from .reading import video_results
from .results import FILE_NAME as RESULTS

LONGEST_NAME = 200  # bytes; file systems allow 255


class ExportError(Exception):
    """An export can't be written. The message says what to change."""


def write_chapters(folder: Path) -> None:
    """Write chapters/ID.vtt for every result."""
    _write_each(folder, "chapters", ".vtt", webvtt_chapters)


def write_srt(folder: Path) -> None:
    """Write srt/ID.srt for every result."""
    _write_each(folder, "srt", ".srt", srt)


def write_activitynet(folder: Path) -> None:
    """Write activitynet.json: duration, timestamps and sentences of each id, as ActivityNet Captions."""
    entries = {
        result.item: {
            "duration": result.length,
            "timestamps": [[start, end] for start, end, _ in result.events],
            "sentences": [text for _, _, text in result.events],
        }
        for result in video_results(folder / RESULTS)
    }
    write_json(folder / "activitynet.json", entries)


def write_parquet(folder: Path) -> None:
    """Write events.parquet, a table with a row for each event. Raises ExportError if pyarrow is missing."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ExportError(
            "--export parquet needs the package pyarrow; install it with: pip install pyarrow"
        ) from None
    columns = {
        "custom_id": arrow.string(),
        "video": arrow.string(),
        "question": arrow.string(),
        "start": arrow.float64(),
        "end": arrow.float64(),
        "text": arrow.string(),
    }
    rows = [
        (result.item, result.video, result.question, start, end, text)
        for result in video_results(folder / RESULTS)
        for start, end, text in result.events
    ]
    arrays = [
        arrow.array([row[number] for row in rows], kind) for number, kind in enumerate(columns.values())
    ]
    new = folder / ".events.parquet.new"
    parquet.write_table(arrow.table(arrays, names=list(columns)), new)
    new.replace(folder / "events.parquet")


EXPORTS: Mapping[str, Callable[[Path], None]] = {
    "chapters": write_chapters,
    "srt": write_srt,
    "activitynet": write_activitynet,
    "parquet": write_parquet,
}


def file_name(item: str, suffix: str) -> str:
    """Return the name of an item's file: its id with `/` and what else a file system may refuse escaped."""
    name = quote(item, safe=" #,=@", errors="replace") + suffix
    return name if len(name) <= LONGEST_NAME else digest(item) + suffix


def _write_each(folder: Path, name: str, suffix: str, write: Callable[..., str]) -> None:
    (folder / name).mkdir(exist_ok=True)
    for result in video_results(folder / RESULTS):
        write_texts(folder / name / file_name(result.item, suffix), [write(result.events)])
