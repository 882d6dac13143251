"""Names by what they look like in capitals, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bots.names import keys

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("names", sa.Column("raised", sa.Text))
    _fill(op.get_bind())
    op.create_index("names_by_raised", "names", ["raised"], unique=True)


def _fill(connection: sa.Connection) -> None:
    """Whoever has a name keeps it, also beside one that looks like it (0007 marked some)."""
    names = sa.table("names", *map(sa.column, ("person", "name", "folded", "raised")))
    rows = connection.execute(sa.select(names.c.person, names.c.name, names.c.folded)).all()
    taken: set[str] = set()
    for row in sorted(rows, key=lambda row: (row.folded.endswith(f" {row.person}"), row.person)):
        raised = keys(row.name)[2]
        if raised in taken:
            raised = f"{raised} {row.person}"
        taken.add(raised)
        connection.execute(names.update().where(names.c.person == row.person).values(raised=raised))
