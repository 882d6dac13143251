"""Settings, conversations, deliveries, and the channel of the page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_conversations()
    _create_channel()


def _create_conversations() -> None:
    op.create_table(
        "preferences",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "turns",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("chat", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("parent_id", sa.Text),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("thinking", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("turns_by_parent", "turns", ["parent_id"])
    op.create_table(
        "heads",
        sa.Column("chat", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("turn_id", sa.Text, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("chat", sa.Text, primary_key=True),
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("answer_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_index("deliveries_by_answer", "deliveries", ["chat", "answer_id", "position"], unique=True)


def _create_channel() -> None:
    op.create_table(
        "posts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("nonce", sa.Text),
        sa.Column("event_id", sa.Text),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("posts_by_position", "posts", ["position"], unique=True)
    op.create_index("posts_by_nonce", "posts", ["nonce"], unique=True)
    op.create_index("posts_by_event", "posts", ["event_id"], unique=True)
    op.create_table(
        "files",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "names",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
    )
    op.create_index("names_by_folded", "names", ["folded"], unique=True)
