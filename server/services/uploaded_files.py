"""Open the files that a request names by their ids."""

from server.access.principal import Principal
from server.errors import not_ready
from server.media.opened_file import OpenedFile, OpenFile, open_nothing

from .context import ServerContext


def file_opener(context: ServerContext, principal: Principal) -> OpenFile:
    """Return what opens the files of a principal: those that its API key has uploaded.

    It raises ApiError: 400 if there is no such file, or if the server keeps none, and 503 while it starts.
    """

    if context.settings.files is None:
        return open_nothing

    async def open_file(file_id: str, param: str) -> OpenedFile:
        if context.files is None:
            raise not_ready()
        file = await context.files.open(principal, file_id, param=param, status=400)
        return OpenedFile(id=file.row.id, path=file.path, size=file.row.bytes)

    return open_file
