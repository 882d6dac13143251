"""`bots.personal.Links` in SQL. Whoever links, unlinks or sets something takes turns, so nothing falls between."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import ColumnElement, delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import Database
from adapters.storage.tables import link_codes, links, preferences
from adapters.storage.text import AnyText
from adapters.storage.upsert import insert_new, upsert
from bots.personal import Links

_LINKING = 7_827_341_190_458
"""Names PostgreSQL's lock; SQLite lets one transaction write at a time anyway."""


def profile_of(person: str) -> ColumnElement[str]:
    """The id under which this person's settings are."""
    linked = select(links.c.profile).where(links.c.person == person).scalar_subquery()
    return func.coalesce(linked, literal(person, AnyText))


async def settled_profile(connection: AsyncConnection, person: str) -> str:
    """The same, and it stays so until the transaction ends."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock_shared(_LINKING)))
    return (await connection.execute(select(profile_of(person)))).scalar_one()


class SqlLinks(Links):
    """A part of `adapters.storage.sql.SqlStorage`."""

    _database: Database

    async def people(self, person: str) -> Sequence[str]:
        async with self._database.read() as connection:
            return await _people(connection, person)

    async def put_code(self, code: str, person: str, expires_at: float) -> None:
        row = {"digest": _digest(code), "person": person, "expires_at": expires_at}
        async with self._database.write() as connection:
            await connection.execute(delete(link_codes).where(link_codes.c.person == person))
            await connection.execute(upsert(self._database.dialect, link_codes, [row]))

    async def redeem(self, code: str, person: str, now: float) -> bool:
        # Deleting is what makes a code good for once: of two at the same time one finds it gone.
        taken = (
            delete(link_codes)
            .where(link_codes.c.digest == _digest(code), link_codes.c.expires_at > now, link_codes.c.person != person)
            .returning(link_codes.c.person)
        )
        async with self._database.write() as connection:
            await _take_turns(connection)
            giver = await connection.scalar(taken)
            if giver is None:
                return False
            kept, joining = await _people(connection, giver), await _people(connection, person)
            if kept[0] != joining[0]:
                await self._join([*kept, *joining], kept[0], joining[0], connection)
            return True

    async def unlink(self, person: str) -> bool:
        async with self._database.write() as connection:
            await _take_turns(connection)
            everybody = await _people(connection, person)
            rest = [each for each in everybody if each != person]
            if not rest:
                return False
            own = preferences.c.person
            if everybody[0] == person:
                await self._copy_settings(person, rest[0], connection)
                await connection.execute(update(links).where(links.c.person.in_(rest)).values(profile=rest[0]))
            else:
                await connection.execute(delete(preferences).where(own == person))
                await self._copy_settings(everybody[0], person, connection)
            gone = [person] if len(rest) > 1 else everybody
            await connection.execute(delete(links).where(links.c.person.in_(gone)))
            return True

    async def _join(self, people: Sequence[str], profile: str, other: str, connection: AsyncConnection) -> None:
        rows = [{"person": each, "profile": profile} for each in people]
        await connection.execute(upsert(self._database.dialect, links, rows))
        await self._copy_settings(other, profile, connection)
        await connection.execute(delete(preferences).where(preferences.c.person == other))

    async def _copy_settings(self, source: str, target: str, connection: AsyncConnection) -> None:
        """Those that the target has already stay."""
        found = await connection.execute(select(preferences).where(preferences.c.person == source))
        rows = [{"person": target, "name": row.name, "value": row.value} for row in found]
        if rows:
            await connection.execute(insert_new(self._database.dialect, preferences, rows))


async def _people(connection: AsyncConnection, person: str) -> list[str]:
    """Everybody of this person's profile, the one that it is named after first."""
    query = select(links.c.person, links.c.profile).where(links.c.profile == profile_of(person))
    found = (await connection.execute(query.order_by(links.c.person))).all()
    everybody = sorted(found, key=lambda row: row.person != row.profile)
    return [row.person for row in everybody] or [person]


async def _take_turns(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_LINKING)))


def _digest(code: str) -> str:
    return sha256(code.encode("utf-8", "replace")).hexdigest()
