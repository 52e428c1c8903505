"""Write and read what the database knows of each file; its content lies in a folder."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .batch_rows import UNFINISHED
from .pages import ID, PageRequest, owned_by, read_page
from .tables import BATCHES, FILES, PARTS


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One file. Times are Unix seconds; `expires_at` is None if the file stays until it is deleted."""

    id: str
    owner: str
    filename: str
    purpose: str
    content_type: str | None
    bytes: int
    created_at: float
    expires_at: float | None


async def add_file(connection: AsyncConnection, row: FileRow) -> None:
    """Insert a file."""
    await connection.execute(insert(FILES).values(**asdict(row)))


async def find_file(connection: AsyncConnection, owner: str, file_id: str, now: float) -> FileRow | None:
    """Return a file of an owner, or None if there is none or its time is over."""
    if not ID.fullmatch(file_id):
        return None
    query = _unexpired(owned_by(FILES, owner), now).where(FILES.c.id == file_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _file(row)


async def file_page(
    connection: AsyncConnection, owner: str, page: PageRequest, purpose: str | None, now: float
) -> tuple[list[FileRow], bool]:
    """Return a page of an owner's files, with one purpose only if it is given, and whether more follow."""
    query = _unexpired(owned_by(FILES, owner), now)
    if purpose is not None:
        query = query.where(FILES.c.purpose == purpose)
    rows, has_more = await read_page(connection, FILES, query, page)
    return [_file(row) for row in rows], has_more


async def stored_bytes(connection: AsyncConnection, owner: str) -> int:
    """Return the sum of the sizes of an owner's files, and of the parts of uploads that aren't files yet."""
    tables = (FILES, PARTS)
    sums = [select(func.sum(table.c.bytes)).where(table.c.owner == owner) for table in tables]
    return sum([int(await connection.scalar(query) or 0) for query in sums])


async def remove_file(connection: AsyncConnection, owner: str, file_id: str) -> bool:
    """Delete a file of an owner, and return whether there was one."""
    result = await connection.execute(delete(FILES).where(FILES.c.owner == owner, FILES.c.id == file_id))
    return result.rowcount > 0


async def remove_expired_files(connection: AsyncConnection, now: float) -> Sequence[str]:
    """Delete all files whose time is over and that no batch reads, and return their ids."""
    in_use = select(BATCHES.c.input_file_id).where(BATCHES.c.status.in_(UNFINISHED))
    query = delete(FILES).where(FILES.c.expires_at <= now, FILES.c.id.not_in(in_use)).returning(FILES.c.id)
    return list((await connection.scalars(query)).all())


async def known_files(connection: AsyncConnection, file_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the ids that are files."""
    query = select(FILES.c.id).where(FILES.c.id.in_(list(file_ids)))
    return frozenset((await connection.scalars(query)).all())


def _unexpired(query: Select[Any], now: float) -> Select[Any]:
    return query.where(or_(FILES.c.expires_at.is_(None), FILES.c.expires_at > now))


def _file(row: Any) -> FileRow:
    return FileRow(**row._mapping)
