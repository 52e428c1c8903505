"""Run migrations on the connection that the server has opened; Alembic executes this file."""

from alembic import context

from server.database.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
