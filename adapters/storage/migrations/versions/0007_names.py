"""Names by what they look like and by when their owner was last seen, and the page's own secret."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

from bots.names import keys

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("names", sa.Column("skeleton", sa.Text))
    op.add_column("names", sa.Column("seen_at", sa.Double))
    op.drop_index("names_by_folded", "names")
    _fill(op.get_bind())
    for name, column, unique in (("folded", "folded", True), ("skeleton", "skeleton", True), ("age", "seen_at", False)):
        op.create_index(f"names_by_{name}", "names", [column], unique=unique)
    op.create_table(
        "page_secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def _fill(connection: sa.Connection) -> None:
    """Whoever has a name keeps it, also beside one that looks like it."""
    names = sa.table("names", *map(sa.column, ("person", "name", "folded", "skeleton", "seen_at")))
    taken: set[str] = set()
    now = time.time()
    for row in connection.execute(sa.select(names.c.person, names.c.name).order_by(names.c.person)).all():
        folded, skeleton, _ = keys(row.name)
        if folded in taken or skeleton in taken:
            folded, skeleton = f"{folded} {row.person}", f"{skeleton} {row.person}"
        taken |= {folded, skeleton}
        new = {"folded": folded, "skeleton": skeleton, "seen_at": now}
        connection.execute(names.update().where(names.c.person == row.person).values(**new))
