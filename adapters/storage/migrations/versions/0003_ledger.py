"""Replies with their state, and the processes that they and the events belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "replies",
        sa.Column("chat", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("answer_id", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("question_id", sa.Text),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
    )
    op.create_index("replies_by_answer", "replies", ["chat", "answer_id"])
    op.create_table(
        "processes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    # What an older program left belongs to nobody, and has no captions.
    op.add_column("inbox", sa.Column("process", sa.Text, nullable=False, server_default=""))
    op.add_column("turns", sa.Column("captions", sa.Text, nullable=False, server_default=""))
