"""Names by what they look like without accents and punctuation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bots.names import keys

revision = "0011"
down_revision = "0010"
_KEYS = ("folded", "skeleton", "raised")


def upgrade() -> None:
    for key in _KEYS:  # while it is filled, a new key may be what another row had
        op.drop_index(f"names_by_{key}", "names")
    _fill(op.get_bind())
    for key in _KEYS:
        op.create_index(f"names_by_{key}", "names", [key], unique=True)


def _fill(connection: sa.Connection) -> None:
    """Whoever has a name keeps it, also beside one that looks like it: the second one's key has its person behind."""
    names = sa.table("names", *map(sa.column, ("person", "name", *_KEYS)))
    rows = connection.execute(sa.select(names.c.person, names.c.name, names.c.folded)).all()
    taken: set[tuple[str, str]] = set()
    for row in sorted(rows, key=lambda row: (row.folded.endswith(f" {row.person}"), row.person)):
        found = dict(zip(_KEYS, keys(row.name), strict=True))
        found = {key: f"{value} {row.person}" if (key, value) in taken else value for key, value in found.items()}
        taken.update(found.items())
        connection.execute(names.update().where(names.c.person == row.person).values(**found))
