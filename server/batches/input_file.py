"""Read the file of a batch line by line, and find its lines or what is wrong with them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.errors import ApiError
from server.protocol.batch_fields import LineError, custom_id_of
from server.protocol.strict_json import parse_object

MOST_ERRORS = 100  # that a client reads


@dataclass(frozen=True, kw_only=True)
class InputLines:
    """The lines of a file, as `begin_lines` takes them, or its errors as OpenAI writes them."""

    lines: Sequence[Mapping[str, Any]]
    errors: Sequence[Mapping[str, Any]]


def read_lines(path: Path, endpoint: str, *, most_lines: int, most_bytes: int) -> InputLines:
    """Return the lines of a batch's file.

    Args:
        path: the file.
        endpoint: the path that all lines must name.
        most_lines: the limit on their number.
        most_bytes: the limit on the bytes of one line.

    Raises:
        OSError: the file can't be read.
    """
    lines: list[Mapping[str, Any]] = []
    errors: list[Mapping[str, Any]] = []
    first_lines: dict[str, int] = {}
    start = number = 0
    with path.open("rb") as file:
        while len(errors) < MOST_ERRORS and (raw := file.readline(most_bytes + 1)):
            number += 1
            length = len(raw)
            try:
                if length > most_bytes:
                    raise LineError("line_too_large", f"This line is longer than {most_bytes} bytes.")
                if raw.strip():
                    if len(lines) == most_lines:
                        message = f"The file has more than {most_lines} requests. Split it."
                        raise LineError("too_many_tasks", message)
                    custom_id = custom_id_of(_object(raw), endpoint)
                    first = first_lines.setdefault(custom_id, number)
                    if first != number:
                        raise LineError(
                            "duplicate_custom_id",
                            f"The custom_id of this line is also that of line {first}. It must be "
                            "unique in a batch.",
                            "custom_id",
                        )
                    lines.append({"number": number, "custom_id": custom_id, "start": start, "length": length})
            except LineError as error:
                errors.append(_entry(error, number))
                if error.code in ("line_too_large", "too_many_tasks"):  # the rest is in doubt or not wanted
                    break
            start += length
    if not lines and not errors:
        empty = LineError("empty_file", "The file has no requests.", "input_file_id")
        errors.append(_entry(empty, None))
    return InputLines(lines=lines, errors=errors)


def read_line(path: Path, start: int, length: int) -> dict[str, Any]:
    """Return the object in a line that is known to be valid.

    Raises ApiError (404) if the file is gone, and OSError if it can't be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            return parse_object(file.read(length))
    except FileNotFoundError:
        raise ApiError(
            "The file of the batch is gone.", status=404, param="input_file_id", code="file_not_found"
        ) from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return parse_object(raw)
    except ApiError as error:
        if error.status == 413:
            raise LineError("line_too_large", error.message) from None
        raise LineError(
            "invalid_json_line", "This line is not parseable as a JSON object in UTF-8."
        ) from None


def error_entries(code: str, message: str) -> str:
    """Return the JSON of a batch's errors if there is one that no line has caused."""
    return json.dumps([_entry(LineError(code, message), None)])


def _entry(error: LineError, number: int | None) -> Mapping[str, Any]:
    return {"code": error.code, "line": number, "message": error.message, "param": error.param}
