"""Write an object as JSON, a large one in a thread and in pieces, so that other work goes on meanwhile."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SMALL = 2**16  # characters and values up to which the encoder is done in a millisecond
LARGE = 2**20  # characters from which on the rest is written in a thread
LEVELS = 5  # lists and objects inside each other that are cut: down to the tokens of a choice's logprobs


async def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return an object as JSON in UTF-8.

    Python's encoder lets nothing else run until it is done, not even in another thread, and it takes a second
    for tens of megabytes. So it writes one small part of the body at a time, unless the whole body is small.
    """
    if _size(body, SMALL) <= SMALL:
        return _json(body).encode()
    pieces = _pieces(body, LEVELS)
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size > LARGE:
            return await asyncio.to_thread(_bytes, parts, pieces)
    return _bytes(parts, ())


def _size(value: Any, most: int) -> int:
    """Return the number of characters and values in a value. It stops counting beyond `most`."""
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, dict | list):
        return most + 1 if isinstance(value, Mapping) else 1
    size = len(value)
    for entry in value.values() if isinstance(value, dict) else value:
        if size > most:
            break
        size += _size(entry, most - size)
    return size


def _pieces(value: Any, levels: int) -> Iterator[str]:
    """Yield the JSON of a value in pieces: what lies deeper than `levels` lists and objects is one piece."""
    if levels and isinstance(value, Mapping) and value:
        before = "{"
        for key, entry in value.items():
            yield f"{before}{_json(key)}:"
            yield from _pieces(entry, levels - 1)
            before = ","
        yield "}"
    elif levels and isinstance(value, list) and value:
        before = "["
        for entry in value:
            yield before
            yield from _pieces(entry, levels - 1)
            before = ","
        yield "]"
    else:
        yield _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _bytes(parts: list[str], rest: Iterable[str]) -> bytes:
    return "".join((*parts, *rest)).encode()
