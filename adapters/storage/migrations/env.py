"""What Alembic runs: the migrations, on the connection and in the transaction that `schema` opened."""

from __future__ import annotations

from alembic import context

from adapters.storage.database.schema import VERSION_TABLE
from adapters.storage.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a column by copying its table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
