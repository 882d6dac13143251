"""What people had used today when they erased themselves: it counts on, and does not say whose it was.

Each day has a key of its own, which is deleted with the day; without it nobody can tell whose a row is.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from adapters.storage.sql.tables import quota_keys, quota_usage, usage
from adapters.storage.sql.upsert import add, insert_new
from bots.profile.personal import Used


def carry_over(connection: Connection, people: Sequence[str], day: str) -> None:
    """Store what these people have used on this day under names that only the day's key can tell."""
    rows = connection.execute(select(usage).where(usage.c.person.in_(people), usage.c.day == day)).all()
    if not rows:
        return
    insert_new(connection, quota_keys, {"day": day, "key": secrets.token_hex(32)})
    key = _key_of(connection, day) or ""
    for row in rows:
        own = {"digest": _digest(key, row.person), "day": day}
        add(connection, quota_usage, own | {"tokens": row.tokens, "captions": row.captions})


def carried_over(connection: Connection, people: Sequence[str], day: str) -> Used:
    """Return what these people had used on this day before they erased themselves."""
    key = _key_of(connection, day)
    if key is None:
        return Used()
    own = quota_usage.c.digest.in_([_digest(key, person) for person in people])
    sums = select(func.sum(quota_usage.c.tokens), func.sum(quota_usage.c.captions)).where(own, quota_usage.c.day == day)
    tokens, captions = connection.execute(sums).one()
    return Used(tokens=int(tokens or 0), captions=int(captions or 0))


def forget_before(connection: Connection, day: str) -> None:
    """Delete everything of the days before this one, keys included."""
    for table in (quota_usage, quota_keys):
        connection.execute(delete(table).where(table.c.day < day))


def _key_of(connection: Connection, day: str) -> str | None:
    return connection.scalar(select(quota_keys.c.key).where(quota_keys.c.day == day))


def _digest(key: str, person: str) -> str:
    return hmac.digest(bytes.fromhex(key), person.encode("utf-8", "surrogatepass"), "sha256").hex()
