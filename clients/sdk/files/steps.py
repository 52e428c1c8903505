"""What a client does with files: it uploads, lists, reads and deletes them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from clients.sdk.errors import ApiError, ClientError, InvalidRequest, UploadInterrupted
from clients.sdk.partial_upload import PartialUpload
from clients.sdk.sending.attempts import object_of, reply_to
from clients.sdk.sending.calls import Call, Repeat, Steps, json_content
from clients.sdk.sending.connection import Connection
from clients.sdk.sending.pages import Page, all_pages

from .file_slice import FileSlice, OnProgress
from .stored_files import Deletion, StoredFile, Upload, UploadPart

PART_BYTES = 32 * 2**20  # half of what OpenAI allows; a broken connection costs one part
PAGE = 1000
UPLOAD_IS_GONE = (404, 409)  # it has expired, or was completed or cancelled
LOOK = "look at the list of files"
Source = str | Path | bytes


@dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """How a file is uploaded.

    `purpose` is OpenAI's. `filename` replaces the file's own name. A file of more than `part_bytes` goes in
    parts, and `resume` goes on with such an upload. `on_part` is called after each part.
    """

    purpose: str
    filename: str | None
    expires_after: int | None
    part_bytes: int
    resume: PartialUpload | None
    on_progress: OnProgress
    on_part: Callable[[PartialUpload], None]


def upload_steps(connection: Connection, source: Source, options: UploadOptions) -> Steps[StoredFile]:
    """Return the uploaded file. Raises ClientError, and UploadInterrupted if it went in parts."""
    with opened(source) as (file, name, size, changed_ns):
        name = options.filename or name
        if options.resume is None and size <= options.part_bytes:
            return (yield from _upload_whole(connection, file, name, size, options))
        if options.resume is None:
            partial = yield from _announce(connection, name, size, changed_ns, options)
        else:
            partial = options.resume
            if (partial.size, partial.changed_ns) != (size, changed_ns):
                raise InvalidRequest(
                    f"{name} has changed since its upload began; upload it again from the start"
                )
        return (yield from _upload_parts(connection, file, name, partial, options))


def list_steps(connection: Connection, purpose: str | None) -> Steps[list[StoredFile]]:
    """Return all files of the key, the newest first, page by page."""
    params: dict[str, str | int] = {"limit": PAGE} | ({} if purpose is None else {"purpose": purpose})
    return (yield from all_pages(connection, "v1/files", params, Page[StoredFile], "list of files"))


def retrieve_steps(connection: Connection, file_id: str) -> Steps[StoredFile]:
    """Return what is known of a file."""
    call = Call(method="GET", path=f"v1/files/{file_id}")
    return (yield from object_of(connection, call, StoredFile, "file"))


def content_call(file_id: str) -> Call:
    """Return the call whose reply is the content of a file."""
    return Call(method="GET", path=f"v1/files/{file_id}/content", keeps_open=True)


def content_steps(connection: Connection, file_id: str) -> Steps[bytes]:
    """Return the content of a file, all of it in memory."""
    reply = yield from reply_to(connection, Call(method="GET", path=f"v1/files/{file_id}/content"))
    return bytes(reply.content)


def delete_steps(connection: Connection, file_id: str) -> Steps[None]:
    """Delete a file."""
    call = Call(method="DELETE", path=f"v1/files/{file_id}", repeat=Repeat.UNLESS_DONE, afterwards=LOOK)
    yield from object_of(connection, call, Deletion, "deletion")


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryIO, str, int, int]]:
    """Yield a file or bytes opened, with name, size in bytes, and the time of the last change.

    Raises OSError if a file can't be read.
    """
    if isinstance(source, bytes):
        yield BytesIO(source), "file", len(source), 0
        return
    path = Path(source)
    with path.open("rb") as file:
        status = path.stat()
        yield file, path.name, status.st_size, status.st_mtime_ns


def _upload_whole(
    connection: Connection, file: BinaryIO, name: str, size: int, options: UploadOptions
) -> Steps[StoredFile]:
    content = FileSlice(file, 0, size, total=size, on_progress=options.on_progress)
    fields = {"purpose": options.purpose}
    if options.expires_after is not None:
        fields |= {
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": str(options.expires_after),
        }
    call = Call(
        method="POST",
        path="v1/files",
        data=fields,
        files={"file": (name, content)},
        repeat=Repeat.UNLESS_DONE,
        afterwards=LOOK,
    )
    return (yield from object_of(connection, call, StoredFile, "file"))


def _announce(
    connection: Connection, name: str, size: int, changed_ns: int, options: UploadOptions
) -> Steps[PartialUpload]:
    """Announce a file that comes in parts. An upload that gets no parts expires by itself."""
    body = {
        "filename": name,
        "purpose": options.purpose,
        "bytes": size,
        "mime_type": "application/octet-stream",
    }
    if options.expires_after is not None:
        body["expires_after"] = {"anchor": "created_at", "seconds": options.expires_after}
    call = Call(method="POST", path="v1/uploads", content=json_content(body))
    upload = yield from object_of(connection, call, Upload, "upload")
    return PartialUpload(
        upload_id=upload.id, size=size, changed_ns=changed_ns, part_bytes=options.part_bytes, part_ids=()
    )


def _upload_parts(
    connection: Connection, file: BinaryIO, name: str, partial: PartialUpload, options: UploadOptions
) -> Steps[StoredFile]:
    """Send the parts that the server doesn't have, and complete the upload.

    A part may be sent twice, because the file is made of those that the last request names. That request may
    be repeated, too.
    """
    try:
        while (start := len(partial.part_ids) * partial.part_bytes) < partial.size:
            size = min(partial.part_bytes, partial.size - start)
            content = FileSlice(file, start, size, total=partial.size, on_progress=options.on_progress)
            call = Call(
                method="POST", path=f"v1/uploads/{partial.upload_id}/parts", files={"data": (name, content)}
            )
            part = yield from object_of(connection, call, UploadPart, "part")
            partial = partial.with_part(part.id)
            options.on_part(partial)
        body = {"part_ids": list(partial.part_ids)}
        call = Call(
            method="POST", path=f"v1/uploads/{partial.upload_id}/complete", content=json_content(body)
        )
        upload = yield from object_of(connection, call, Upload, "upload")
    except ClientError as error:
        if isinstance(error, ApiError) and error.status in UPLOAD_IS_GONE:
            raise
        raise UploadInterrupted(
            f"{error}; the server has {len(partial.part_ids)} parts of {name}, and the upload can go on",
            partial=partial,
        ) from error
    if upload.file is None:
        raise ClientError(f"the upload of {name} was completed, but its file is gone; upload it again")
    return upload.file
