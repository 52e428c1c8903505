"""Read the items of a manifest: a JSON object a line (.jsonl), or a table with a header (.csv).

Fields: video, question or questions, and if wanted id, schema, start, end, subtitles and parameters. In a
table `schema` and `parameters` hold JSON, and `questions` a JSON list. Without a question, that of the
command holds. A line that can't be read becomes a BadItem, and the other lines are read.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from clients.video_jobs.digest import digest

from .item import BadItem, Item, ids_of, is_address

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
JSON_FIELDS = ("schema", "parameters", "questions")
SUFFIXES = (".jsonl", ".csv")


class ManifestLine(BaseModel):
    """A line of a manifest, checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text | None = None
    video: Text
    question: Text | None = None
    questions: list[Text] | None = Field(None, min_length=1)
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")
    start: Seconds | None = None
    end: Seconds | None = None
    subtitles: Text | None = None
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fields_agree(self) -> "ManifestLine":
        if self.question is not None and self.questions is not None:
            raise ValueError("it has both question and questions: send one of them")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end:g} is not after start {self.start:g}")
        return self


def manifest_items(path: Path, questions: Sequence[str]) -> Iterator[Item | BadItem]:
    """Yield the items of a manifest in its order, each line that can't be read as a BadItem.

    Paths in it are relative to its folder. `questions` are asked where a line has none. An item without an id
    is known by its video and a hash of the rest of its line. Raises OSError if the file can't be read.
    """
    lines_of_ids: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            items = _items(line, path.parent, questions)
        except (ValueError, RecursionError) as error:
            yield BadItem(f"line {number}", f"line {number} of {path.name}: {_reason(error)}")
            continue
        for item in items:
            first = lines_of_ids.setdefault(item.id, number)
            if first != number:
                yield BadItem(
                    f"line {number}",
                    f"line {number} of {path.name} has the id {item.id!r} of line {first}: give it an id of "
                    "its own",
                )
                break
            yield item


def _lines(path: Path) -> Iterator[tuple[int, str | Mapping[str, Any]]]:
    """Yield each line with its number, from 1: the text of a JSON line, or the cells of a row."""
    if path.suffix.lower() != ".csv":
        with path.open("rb") as file:
            for number, content in enumerate(file, 1):
                text = content.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()
                if text:
                    yield number, text
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as table:
        rows = csv.DictReader(table, restkey="more cells than the header")
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                row = {f"a broken row ({error})": "it"}
            yield rows.reader.line_num, {name: cell for name, cell in row.items() if cell not in (None, "")}


def _items(line: str | Mapping[str, Any], folder: Path, questions: Sequence[str]) -> list[Item]:
    """Return the items of a line. Raises ValueError that says what is wrong with it."""
    fields = json.loads(line) if isinstance(line, str) else _cells(line)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    checked = ManifestLine.model_validate(fields)
    wordings = checked.questions or ([checked.question] if checked.question else list(questions))
    if not wordings:
        raise ValueError("it has no question: give it one, or pass --question")
    base = checked.id or f"{checked.video}#{digest(fields)[:8]}"
    return [
        Item(
            id=item_id,
            video=_located(checked.video, folder),
            question=question,
            schema=checked.answer_schema,
            start=checked.start,
            end=checked.end,
            subtitles=None if checked.subtitles is None else _located(checked.subtitles, folder),
            parameters=checked.parameters,
        )
        for item_id, question in zip(ids_of(base, len(wordings)), wordings, strict=True)
    ]


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a row, those of JSON_FIELDS read. Raises ValueError with the cell's name."""
    fields = dict(row)
    for name in JSON_FIELDS:
        if name in fields:
            try:
                fields[name] = json.loads(fields[name])
            except ValueError as error:
                raise ValueError(f"{name} is no JSON: {error}") from error
    return fields


def _located(path: str, folder: Path) -> str:
    return path if is_address(path) else str(folder / path)


def _reason(error: ValueError | RecursionError) -> str:
    """Return in one line what is wrong, without the value that is."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg} at character {error.pos})"
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_input=False)
    texts = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".lstrip(": ") for fault in faults]
    return "; ".join(texts)
