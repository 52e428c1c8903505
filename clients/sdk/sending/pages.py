"""A list of the API, which the server sends page by page."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from clients.sdk.completions import Wire

from .attempts import object_of
from .calls import Call, Steps
from .connection import Connection


class Listed(Wire):
    """An entry of a list. Its id says where the next page begins."""

    id: str


Entry = TypeVar("Entry", bound=Listed)


class Page(Wire, Generic[Entry]):
    """One page of a list."""

    data: list[Entry]
    has_more: bool = False


def all_pages(
    connection: Connection, path: str, params: Mapping[str, str | int], kind: type[Page[Entry]], expected: str
) -> Steps[list[Entry]]:
    """Return all entries in the order of the server. `expected` names the list in errors."""
    entries: list[Entry] = []
    while True:
        page = yield from object_of(connection, Call(method="GET", path=path, params=params), kind, expected)
        entries += page.data
        if not (page.has_more and page.data):
            return entries
        params = {**params, "after": page.data[-1].id}
