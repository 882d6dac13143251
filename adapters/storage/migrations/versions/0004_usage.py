"""Usage, links between platforms, and what retention and erasing look for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("turns_by_age", "turns", ["created_at"])
    op.create_index("replies_by_age", "replies", ["created_at"])
    op.create_index("turns_by_person", "turns", ["person"])
    # Earlier versions kept what an answered event had said.
    op.execute("UPDATE inbox SET payload = '', chat = '' WHERE answered")
    op.execute("UPDATE replies SET request = '', ending = '{}' WHERE shown")
    _create_usage()
    _create_links()


def _create_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("answers", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("captions", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
    )
    op.create_index("usage_by_day", "usage", ["day"])
    op.create_table(
        "histograms",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_index("histograms_by_day", "histograms", ["day"])


def _create_links() -> None:
    op.create_table(
        "links",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("profile", sa.Text, nullable=False),
    )
    op.create_index("links_by_profile", "links", ["profile"])
    op.create_table(
        "link_codes",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_index("link_codes_by_person", "link_codes", ["person"], unique=True)
