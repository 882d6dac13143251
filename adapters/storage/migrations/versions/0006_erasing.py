"""Indexes for what is erased, quotas that outlive an erasure until midnight, and the revision of a post."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INDEXES = {
    "replies_by_person": ("replies", "person"),
    "heads_by_person": ("heads", "person"),
    "heads_by_turn": ("heads", "turn_id"),
    "inbox_by_age": ("inbox", "received_at"),
}


def upgrade() -> None:
    for name, (table, column) in _INDEXES.items():
        op.create_index(name, table, [column])
    waits = sa.text("person != ''")
    op.create_index("inbox_by_person", "inbox", ["person"], postgresql_where=waits, sqlite_where=waits)
    # A process of an older program goes on inserting without it.
    op.add_column("posts", sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "quota_keys",
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.create_table(
        "quota_usage",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("captions", sa.BigInteger, nullable=False),
    )
