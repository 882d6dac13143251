"""Whose an event is, so that it is exported and erased with what else is kept of that person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # A process of an older program goes on inserting without it.
    op.add_column("inbox", sa.Column("person", sa.Text, nullable=False, server_default=""))
