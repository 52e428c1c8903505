"""The routes of OpenAI's files."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from server.database.file_rows import FileRow
from server.files.purposes import PURPOSES, UPLOADED
from server.files.store import FileStore
from server.http.authentication import principal_of
from server.http.lists import list_reply, page_request
from server.http.multipart import read_form
from server.http.request import service_of
from server.protocol.file_fields import checked_purpose, lifetime_of, purpose_of

router = APIRouter()
MOST_LISTED = 10_000


@router.post("/v1/files")
async def upload(request: Request) -> dict[str, Any]:
    """Keep the file of a multipart form. It is written to the disk while it arrives."""
    files = files_of(request)
    principal = principal_of(request)
    async with files.receiving(principal) as arrival:
        form = await read_form(request, "file", arrival.write, principal.settings.body_seconds)
        row = await files.keep(
            arrival,
            filename=form.filename or "",
            purpose=purpose_of(form.fields, UPLOADED),
            content_type=form.content_type,
            lifetime=lifetime_of(form.fields),
        )
    return file_object(row)


@router.get("/v1/files")
async def list_files(request: Request) -> dict[str, Any]:
    """List the files of the key."""
    page = page_request(request, default=MOST_LISTED, most=MOST_LISTED)
    purpose = request.query_params.get("purpose")
    if purpose is not None:
        checked_purpose(purpose, PURPOSES)
    rows, has_more = await files_of(request).list_files(principal_of(request), page, purpose)
    return list_reply([file_object(row) for row in rows], has_more=has_more)


@router.get("/v1/files/{file_id}")
async def retrieve(request: Request, file_id: str) -> dict[str, Any]:
    """Return what is known of a file."""
    return file_object(await files_of(request).find(principal_of(request), file_id))


@router.get("/v1/files/{file_id}/content")
async def content(request: Request, file_id: str) -> Response:
    """Return the bytes of a file, in pieces. A browser never shows them as a page."""
    file = await files_of(request).open(principal_of(request), file_id)
    return FileResponse(
        file.path,
        filename=file.row.filename,
        media_type="application/octet-stream",
        headers={"X-Content-Type-Options": "nosniff"},
    )


@router.delete("/v1/files/{file_id}")
async def delete(request: Request, file_id: str) -> dict[str, Any]:
    """Delete a file."""
    await files_of(request).remove(principal_of(request), file_id)
    return {"id": file_id, "object": "file", "deleted": True}


def files_of(request: Request) -> FileStore:
    """Return the server's files. Raises ApiError: 404 if it keeps none, 503 while it starts."""
    return service_of(request).file_store()


def file_object(row: FileRow) -> dict[str, Any]:
    """Return OpenAI's file object."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": int(row.created_at),
        "expires_at": None if row.expires_at is None else int(row.expires_at),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }
