"""Open the folder and the database that `--files` and `--database` name, and keep them tidy."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server.database.connection import Database
from server.errors import ApiError
from server.settings import Settings

from .content_folder import ContentFolder
from .remote_contents import RemoteContents
from .store import FileStore
from .uploads import Uploads

logger = logging.getLogger("internvl3.server")
CLEAN_UP_SECONDS = 3600.0
COPIES_SECONDS = 60.0
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What is open of one server's storage."""

    database: Database
    folder: ContentFolder
    files: FileStore
    uploads: Uploads

    async def keep_tidy(self) -> None:
        """Remove what is no longer needed, now and every hour, until this is cancelled."""
        while True:
            try:
                await self.files.clean_up()
            except (ApiError, OSError):  # the log says why the database has failed
                logger.exception("could not remove old files; the next try follows in an hour")
            await asyncio.sleep(CLEAN_UP_SECONDS)

    async def drop_copies(self, most_bytes: int) -> None:
        """Keep the copies of contents that are stored elsewhere within so many bytes, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.folder.drop_copies, most_bytes)
            except OSError:
                logger.exception("could not remove copies of files; the next try follows in a minute")
            await asyncio.sleep(COPIES_SECONDS)


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Yield the storage that the settings name while it is open. Raises StartupError if it can't be used."""
    assert settings.files is not None
    url = settings.file_url
    remote = None if url is None else await asyncio.to_thread(RemoteContents, url)
    folder = ContentFolder(settings.files.absolute(), remote)
    database = Database(settings.database_url)
    try:
        await database.prepare()
        files = FileStore(database, folder)
        uploads = Uploads(database, folder, files.arrivals)
        storage = Storage(database=database, folder=folder, files=files, uploads=uploads)
        tidying = asyncio.gather(
            storage.keep_tidy(), storage.drop_copies(settings.file_copies_gib * GIB), return_exceptions=True
        )
        try:
            yield storage
        finally:
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
    finally:
        await database.close()
