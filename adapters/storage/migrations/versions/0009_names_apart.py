"""Names whose small i and l alone differ are two."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bots.names import keys

revision = "0009"
down_revision = "0008"
_COLUMNS = ("folded", "skeleton")


def upgrade() -> None:
    for column in _COLUMNS:  # while it is filled, a new key may be what another row had
        op.drop_index(f"names_by_{column}", "names")
    _fill(op.get_bind())
    for column in _COLUMNS:
        op.create_index(f"names_by_{column}", "names", [column], unique=True)


def _fill(connection: sa.Connection) -> None:
    """Whoever has a name keeps it; one that stands beside its like (0007 marked it) still does."""
    names = sa.table("names", *map(sa.column, ("person", "name", *_COLUMNS)))
    rows = connection.execute(sa.select(names.c.person, names.c.name, names.c.folded)).all()
    taken: set[str] = set()
    for row in sorted(rows, key=lambda row: (row.folded.endswith(f" {row.person}"), row.person)):
        folded, skeleton, _ = keys(row.name)
        if folded in taken or skeleton in taken:
            folded, skeleton = f"{folded} {row.person}", f"{skeleton} {row.person}"
        taken |= {folded, skeleton}
        new = {"folded": folded, "skeleton": skeleton}
        connection.execute(names.update().where(names.c.person == row.person).values(**new))
