"""Open the database that keeps files and batches, and run transactions on it.

It is SQLite or PostgreSQL. All SQL of the server stands in this folder.
"""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from alembic.util import CommandError
from sqlalchemy import event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.errors import ApiError, StartupError

from .schema import upgrade

logger = logging.getLogger("internvl3.server")
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
LOCK_SECONDS = 10.0  # that a server waits for another one that ends
LOOK_SECONDS = 0.1  # between two attempts to lock
BUSY_SECONDS = 60  # that a transaction waits for others of SQLite, which run one after the other


class Database:
    """One database. Several processes may share a PostgreSQL, and none may share an SQLite."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`, with libpq's parameters.

        Raises:
            StartupError: the URL is of another kind.
        """
        self._engine = _engine(url)
        self._lock: int | None = None  # a descriptor

    @property
    def is_shared(self) -> bool:
        """Whether several servers may use it at the same time."""
        return self._engine.dialect.name == "postgresql"

    async def prepare(self) -> None:
        """Create the tables, or change those of an older version.

        Raises StartupError if that fails, or if another server uses the same SQLite.
        """
        try:
            if not self.is_shared:
                self._lock = await _lock(str(self._engine.url.database))
            async with self._engine.begin() as connection:
                await connection.run_sync(upgrade)
        except (SQLAlchemyError, CommandError, OSError) as error:  # the second: a newer server has changed it
            raise StartupError(f"can't use the database: {_reason(error)}; set --database") from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection whose changes are durable after the block, or undone if the block raises.

        Raises ApiError (503) if the database fails.
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            logger.error("the database failed: %s", _reason(error))
            raise ApiError(
                "The server's database failed. Retry in a few seconds.", status=503, code="database_failed"
            ) from None

    async def now(self, connection: AsyncConnection) -> float:
        """Return the Unix time in seconds, by the clock that all servers of the database share."""
        if not self.is_shared:
            return time.time()
        clock = select(func.extract("epoch", func.clock_timestamp()))
        return float((await connection.execute(clock)).scalar_one())

    async def lock(self, connection: AsyncConnection, name: str) -> None:
        """Let no other transaction that locks the same name run until this one ends.

        Transactions of SQLite never run at the same time anyway.
        """
        if self.is_shared:
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)


def _engine(url: str) -> AsyncEngine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StartupError(
            "--database is no URL; use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    kind = parsed.get_backend_name()
    if kind not in DRIVERS:
        raise StartupError(f"--database names a {kind} database; use SQLite or PostgreSQL")
    if kind == "sqlite" and not parsed.database:
        raise StartupError("--database names no file; use sqlite:///PATH")
    parsed = parsed.set(drivername=DRIVERS[kind])
    # Errors must not show the values of a statement, which may be what a client sent.
    if kind == "postgresql":
        return create_async_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    engine = create_async_engine(parsed, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


async def _lock(path: str) -> int:
    """Return the descriptor of a file that no other process can lock until it is closed.

    A server that is about to end has some seconds for it.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return descriptor
                await asyncio.sleep(LOOK_SECONDS)
    except BaseException as error:
        os.close(descriptor)
        if not isinstance(error, TimeoutError):
            raise
        raise StartupError(
            f"another server uses the database {path}; end it, or give both a PostgreSQL by --database"
        ) from None


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """Make commits durable, and let SQLAlchemy begin transactions instead of the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Take the lock for writing at once: a transaction that asks for it later may fail."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: Exception) -> str:
    """Return the driver's message on one line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(f"{type(cause).__name__}: {cause}".split())
