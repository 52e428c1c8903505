"""Write and read what the database knows of uploads, and of the parts that have come so far."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .pages import ID, owned_by
from .tables import PARTS, UPLOADS

PENDING, COMPLETED, CANCELLED, EXPIRED = "pending", "completed", "cancelled", "expired"
KEPT_SECONDS = 86_400  # after its end an upload can still be looked at


@dataclass(frozen=True, kw_only=True)
class UploadRow:
    """One upload. Times are Unix seconds."""

    id: str
    owner: str
    filename: str
    purpose: str
    content_type: str
    bytes: int  # that its parts must have together
    lifetime: int | None  # seconds until the file expires
    status: str
    created_at: float
    expires_at: float
    file_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """One part of an upload."""

    id: str
    upload_id: str
    owner: str
    bytes: int
    created_at: float


async def add_upload(connection: AsyncConnection, row: UploadRow) -> None:
    """Insert an upload."""
    await connection.execute(insert(UPLOADS).values(**asdict(row)))


async def find_upload(
    connection: AsyncConnection, owner: str, upload_id: str, now: float
) -> UploadRow | None:
    """Return an upload of an owner, or None if there is none. It stays as it is in the transaction."""
    if not ID.fullmatch(upload_id):
        return None
    query = owned_by(UPLOADS, owner).where(UPLOADS.c.id == upload_id).with_for_update()
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        return None
    values = dict(found._mapping)
    if found.status == PENDING and found.expires_at <= now:
        values["status"] = EXPIRED
    return UploadRow(**values)


async def add_part(connection: AsyncConnection, row: PartRow) -> None:
    """Insert a part."""
    await connection.execute(insert(PARTS).values(**asdict(row)))


async def parts_of(connection: AsyncConnection, upload_id: str) -> Sequence[PartRow]:
    """Return the parts of an upload, in no order."""
    rows = (await connection.execute(select(PARTS).where(PARTS.c.upload_id == upload_id))).all()
    return [PartRow(**row._mapping) for row in rows]


async def end_upload(
    connection: AsyncConnection, upload_id: str, status: str, file_id: str | None = None
) -> None:
    """Give an upload its last status, and delete the rows of its parts."""
    query = update(UPLOADS).where(UPLOADS.c.id == upload_id)
    await connection.execute(query.values(status=status, file_id=file_id))
    await connection.execute(delete(PARTS).where(PARTS.c.upload_id == upload_id))


async def known_parts(connection: AsyncConnection, part_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the ids that are parts."""
    return frozenset(
        (await connection.scalars(select(PARTS.c.id).where(PARTS.c.id.in_(list(part_ids))))).all()
    )


async def remove_old_uploads(connection: AsyncConnection, now: float) -> Sequence[str]:
    """Delete the parts of expired uploads, whose ids are returned, and a day later the uploads themselves."""
    over = select(UPLOADS.c.id).where(UPLOADS.c.status == PENDING, UPLOADS.c.expires_at <= now)
    parts = delete(PARTS).where(PARTS.c.upload_id.in_(over)).returning(PARTS.c.id)
    part_ids = list((await connection.scalars(parts)).all())
    await connection.execute(delete(UPLOADS).where(UPLOADS.c.expires_at <= now - KEPT_SECONDS))
    return part_ids
