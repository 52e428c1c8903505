"""The migrations build the tables that the code uses, on a new database and on one of each older version."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from server.database.connection import Database
from server.database.schema import config_for
from server.database.tables import METADATA
from server.errors import StartupError
from tests.server.database.postgresql import new_database


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), METADATA))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_migrations_build_the_tables(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    url = f"sqlite:///{tmp_path / 'db'}"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgresql"))
    database = Database(url)
    for _ in range(2):  # the second time there is nothing to do
        await database.prepare()
        async with database.transaction() as connection:
            assert await connection.run_sync(differences) == []
            assert set(METADATA.tables) < set(
                await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            )
        await database.close()


def versions() -> list[str]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        script = ScriptDirectory.from_config(config_for(connection))
    return [revision.revision for revision in script.walk_revisions()]


@pytest.mark.parametrize("version", versions())
def test_each_version_can_be_left_and_reached(tmp_path: Path, version: str):
    with create_engine(f"sqlite:///{tmp_path / 'db'}").begin() as connection:
        command.upgrade(config_for(connection), "head")
        command.downgrade(config_for(connection), version)
        command.upgrade(config_for(connection), "head")
        assert differences(connection) == []
        command.downgrade(config_for(connection), "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}


async def test_a_database_of_a_newer_server_ends_the_start(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    await database.prepare()
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(StartupError, match="can't use the database"):
        await database.prepare()
    await database.close()
