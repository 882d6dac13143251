"""Whether others could see a question; links that both sides have agreed to, and what each side is told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # A process of an older program goes on inserting without it.
    op.add_column("turns", sa.Column("hidden", sa.Boolean, nullable=False, server_default=sa.false()))
    # Earlier versions did not note which questions were typed into a command or form, so none counts as seen.
    op.execute("UPDATE turns SET hidden = true WHERE role = 'user' AND chat LIKE 'discord:%'")
    op.add_column("links", sa.Column("shares_data", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "link_requests",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_table(
        "link_news",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("other", sa.Text, primary_key=True),
        sa.Column("what", sa.Text, nullable=False),
    )
