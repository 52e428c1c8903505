"""Bring the tables of a database to the version of this program, with Alembic."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x1A7E34C3  # any number that no other program locks in the same PostgreSQL database


def upgrade(connection: Connection) -> None:
    """Run the migrations that the database lacks. Another server that starts meanwhile waits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(config_for(connection), "head")


def config_for(connection: Connection) -> Config:
    """Return Alembic's configuration for a connection that is open."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
