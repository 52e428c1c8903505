"""Read the rows of one owner page by page, in the order in which they were created."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, Table, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import ApiError

ID = re.compile(r"[\w-]{1,64}", re.ASCII)  # other texts are no ids, and some can't be stored
Order = Literal["asc", "desc"]


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Which rows a client wants: at most `limit`, behind the one with the id `after`."""

    limit: int
    after: str | None
    order: Order


async def read_page(
    connection: AsyncConnection, table: Table, rows: Select[Any], page: PageRequest
) -> tuple[list[Any], bool]:
    """Return the rows of a page, and whether more follow. Raises ApiError if `after` is none of them.

    `rows` selects the whole table, filtered. The table has the columns `id` and `created_at`.
    """
    key = tuple_(table.c.created_at, table.c.id)
    if page.after is not None:
        start = None
        if ID.fullmatch(page.after):
            start = (await connection.execute(rows.where(table.c.id == page.after))).one_or_none()
        if start is None:
            raise ApiError("after: there is no object with this id in the list.", param="after")
        end = tuple_(start.created_at, start.id)
        rows = rows.where(key > end if page.order == "asc" else key < end)
    columns = (table.c.created_at, table.c.id)
    rows = rows.order_by(*(column.asc() if page.order == "asc" else column.desc() for column in columns))
    found = (await connection.execute(rows.limit(page.limit + 1))).all()
    return list(found[: page.limit]), len(found) > page.limit


def owned_by(table: Table, owner: str) -> Select[Any]:
    """Return the selection of all rows of one owner."""
    return select(table).where(table.c.owner == owner)
