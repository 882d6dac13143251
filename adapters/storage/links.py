"""`bots.personal.Links` in SQL. Whoever links, unlinks or sets something takes turns, so nothing falls between."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from adapters.storage.database import Database
from adapters.storage.tables import link_codes, links, preferences
from adapters.storage.text import AnyText
from adapters.storage.upsert import insert_new, upsert
from bots.personal import Links

_LINKING = 7_827_341_190_458
"""Names PostgreSQL's lock; SQLite lets one transaction write at a time anyway."""


OF = bindparam("of", type_=AnyText)
PROFILE: ColumnElement[str] = func.coalesce(select(links.c.profile).where(links.c.person == OF).scalar_subquery(), OF)
"""The id under which the settings of the person "of" are."""
_PEOPLE = select(links.c.person, links.c.profile).where(links.c.profile == PROFILE)


def settled_profile(connection: Connection, person: str) -> str:
    """The same, and it stays so until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_LINKING)))
    return connection.execute(select(PROFILE), {"of": person}).scalar_one()


class SqlLinks(Links):
    """A part of `adapters.storage.sql.SqlStorage`."""

    _database: Database

    async def people(self, person: str) -> Sequence[str]:
        return await self._database.read(lambda connection: people_of(connection, person))

    async def put_code(self, code: str, person: str, expires_at: float) -> None:
        row = {"digest": _digest(code), "person": person, "expires_at": expires_at}

        def write(connection: Connection) -> None:
            connection.execute(delete(link_codes).where(link_codes.c.person == person))
            upsert(connection, link_codes, row)

        await self._database.write(write)

    async def redeem(self, code: str, person: str, now: float) -> bool:
        return await self._database.write(lambda connection: _redeem(connection, code, person, now))

    async def unlink(self, person: str) -> bool:
        return await self._database.write(lambda connection: _unlink(connection, person))


def _redeem(connection: Connection, code: str, person: str, now: float) -> bool:
    # Deleting is what makes a code good for once: of two at the same time one finds it gone.
    taken = (
        delete(link_codes)
        .where(link_codes.c.digest == _digest(code), link_codes.c.expires_at > now, link_codes.c.person != person)
        .returning(link_codes.c.person)
    )
    _take_turns(connection)
    giver = connection.scalar(taken)
    if giver is None:
        return False
    kept, joining = people_of(connection, giver), people_of(connection, person)
    if kept[0] != joining[0]:
        _join(connection, [*kept, *joining], kept[0], joining[0])
    return True


def _unlink(connection: Connection, person: str) -> bool:
    _take_turns(connection)
    everybody = people_of(connection, person)
    rest = [each for each in everybody if each != person]
    if not rest:
        return False
    if everybody[0] == person:
        _copy_settings(connection, person, rest[0])
        connection.execute(update(links).where(links.c.person.in_(rest)).values(profile=rest[0]))
    else:
        connection.execute(delete(preferences).where(preferences.c.person == person))
        _copy_settings(connection, everybody[0], person)
    gone = [person] if len(rest) > 1 else everybody
    connection.execute(delete(links).where(links.c.person.in_(gone)))
    return True


def _join(connection: Connection, people: Sequence[str], profile: str, other: str) -> None:
    upsert(connection, links, *({"person": each, "profile": profile} for each in people))
    _copy_settings(connection, other, profile)
    connection.execute(delete(preferences).where(preferences.c.person == other))


def _copy_settings(connection: Connection, source: str, target: str) -> None:
    """Those that the target has already stay."""
    found = connection.execute(select(preferences).where(preferences.c.person == source))
    rows = [{"person": target, "name": row.name, "value": row.value} for row in found]
    for row in rows:
        insert_new(connection, preferences, row)


def people_of(connection: Connection, person: str) -> list[str]:
    """Everybody of this person's profile, the one that it is named after first."""
    return in_order(person, [(row.person, row.profile) for row in connection.execute(_PEOPLE, {"of": person})])


def in_order(person: str, linked: Sequence[tuple[str, str]]) -> list[str]:
    """Everybody of (person, profile), the one that the profile is named after first."""
    return [each for each, _ in sorted(linked, key=lambda row: (row[0] != row[1], row[0]))] or [person]


def _take_turns(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LINKING)))


def _digest(code: str) -> str:
    return sha256(code.encode("utf-8", "replace")).hexdigest()
