"""The routes of OpenAI's uploads, which take a large file in parts."""

from typing import Any

from fastapi import APIRouter, Request

from server.database.file_rows import FileRow
from server.database.upload_rows import UploadRow
from server.errors import UNKNOWN_FIELD, ApiError
from server.files.uploads import Uploads
from server.http.authentication import principal_of
from server.http.multipart import read_form
from server.http.request import read_json, service_of
from server.http.routes.files import file_object

router = APIRouter()


@router.post("/v1/uploads")
async def create(request: Request) -> dict[str, Any]:
    """Announce a file that comes in parts."""
    uploads = uploads_of(request)
    body = await read_json(request, service_of(request).context.settings)
    return upload_object(await uploads.create(principal_of(request), body), None)


@router.post("/v1/uploads/{upload_id}/parts")
async def add_part(request: Request, upload_id: str) -> dict[str, Any]:
    """Keep one part, the field `data` of a multipart form. Parts may come at the same time."""
    uploads = uploads_of(request)
    principal = principal_of(request)
    await uploads.check_pending(principal, upload_id)
    async with uploads.receiving(principal) as arrival:
        form = await read_form(request, "data", arrival.write, principal.settings.body_seconds)
        for name in form.fields:
            raise ApiError(f"{name[:100]}: there is no such field.", param=name[:100], code=UNKNOWN_FIELD)
        part = await uploads.keep(arrival, upload_id)
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created_at),
        "upload_id": part.upload_id,
    }


@router.post("/v1/uploads/{upload_id}/complete")
async def complete(request: Request, upload_id: str) -> dict[str, Any]:
    """Make a file of the parts, in the order in which the body names them."""
    uploads = uploads_of(request)
    body = await read_json(request, service_of(request).context.settings)
    upload, file = await uploads.complete(principal_of(request), upload_id, body)
    return upload_object(upload, file)


@router.post("/v1/uploads/{upload_id}/cancel")
async def cancel(request: Request, upload_id: str) -> dict[str, Any]:
    """End an upload without a file."""
    return upload_object(await uploads_of(request).cancel(principal_of(request), upload_id), None)


def uploads_of(request: Request) -> Uploads:
    """Return the server's uploads. Raises ApiError: 404 if it keeps no files, 503 while it starts."""
    service_of(request).file_store()
    uploads = request.app.state.uploads
    assert isinstance(uploads, Uploads), "the server opens its uploads with its files"
    return uploads


def upload_object(row: UploadRow, file: FileRow | None) -> dict[str, Any]:
    """Return OpenAI's upload object, with the file once there is one."""
    return {
        "id": row.id,
        "object": "upload",
        "bytes": row.bytes,
        "created_at": int(row.created_at),
        "expires_at": int(row.expires_at),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": row.status,
        "file": None if file is None else file_object(file),
    }
