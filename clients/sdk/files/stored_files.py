"""The objects of OpenAI's files: a file that the server keeps, and an upload in parts."""

from clients.sdk.completions import Wire
from clients.sdk.sending.pages import Listed


class StoredFile(Listed):
    """A file that the server keeps. Times are in seconds since 1970; `expires_at` None means never."""

    bytes: int
    created_at: int | None = None
    expires_at: int | None = None
    filename: str = ""
    purpose: str = ""


class Upload(Wire):
    """An upload in parts; `file` is there once it is completed."""

    id: str
    status: str
    file: StoredFile | None = None


class UploadPart(Wire):
    """A part that the server has."""

    id: str


class Deletion(Wire):
    """The reply to the deletion of a file."""

    id: str
    deleted: bool
