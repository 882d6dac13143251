"""`bots.profile.personal.Links` in SQL. Whoever links, unlinks or sets something takes turns: nothing falls between."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from adapters.storage.database.database import Database
from adapters.storage.database.retry import lasting
from adapters.storage.sql.tables import link_codes, link_news, link_requests, links, preferences
from adapters.storage.sql.text import AnyText
from adapters.storage.sql.upsert import insert_new, upsert
from bots.profile.personal import Links, News

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
    """A part of `adapters.storage.sql.storage.SqlStorage`."""

    _database: Database

    @lasting
    async def people(self, person: str) -> Sequence[str]:
        return await self._database.read(lambda connection: people_of(connection, person))

    @lasting
    async def put_code(self, code: str, person: str, expires_at: float) -> None:
        row = {"digest": _digest(code), "person": person, "expires_at": expires_at}

        def write(connection: Connection) -> None:
            connection.execute(delete(link_codes).where(link_codes.c.person == person))
            upsert(connection, link_codes, row)

        await self._database.write(write)

    @lasting
    async def giver(self, code: str, person: str, now: float) -> str | None:
        # From now on the code is known by its digest together with the account that looked, so it is that one's alone.
        bound = update(link_codes).where(*_valid(code, person, now)).values(digest=_digest(f"{code}/{person}"))
        looked = bound.returning(link_codes.c.person)
        return await self._database.write(lambda connection: connection.scalar(looked))

    async def request(self, code: str, person: str, now: float, expires_at: float) -> str | None:
        # Deleting is what makes a code good for once: of two at the same time one finds it gone.
        taken = delete(link_codes).where(*_valid(code, person, now)).returning(link_codes.c.person)

        def write(connection: Connection) -> str | None:
            giver: str | None = connection.scalar(taken)
            if giver is not None:
                upsert(connection, link_requests, {"person": giver, "other": person, "expires_at": expires_at})
            return giver

        return await self._database.write(write)

    @lasting
    async def requested(self, person: str, now: float) -> str | None:
        query = select(link_requests.c.other).where(*_waiting(person, now))
        return await self._database.read(lambda connection: connection.scalar(query))

    async def accept(self, person: str, now: float) -> str | None:
        return await self._database.write(lambda connection: _accept(connection, person, now))

    async def decline(self, person: str) -> bool:
        gone = delete(link_requests).where(link_requests.c.person == person)
        return bool(await self._database.write(lambda connection: connection.execute(gone).rowcount))

    async def unlink(self, person: str) -> bool:
        return await self._database.write(lambda connection: _unlink(connection, person))

    @lasting
    async def share_data(self, person: str, on: bool) -> bool:
        shared = update(links).where(links.c.person == person).values(shares_data=on)

        def write(connection: Connection) -> bool:
            _take_turns(connection)
            if not connection.execute(shared).rowcount:
                return False
            others = [each for each in people_of(connection, person) if each != person]
            _tell(connection, others, person, "shares" if on else "keeps")
            return True

        return await self._database.write(write)

    @lasting
    async def sharing(self, person: str) -> Sequence[str]:
        shares = select(links.c.person).where(links.c.profile == PROFILE, links.c.shares_data)

        def read(connection: Connection) -> list[str]:
            all_of_them = list(connection.scalars(shares, {"of": person}))
            others = sorted(each for each in all_of_them if each != person)
            return [person, *others] if person in all_of_them else [person]

        return await self._database.read(read)

    async def take_news(self, person: str) -> Sequence[tuple[str, News]]:
        own = link_news.c.person == person
        some = select(link_news.c.person).where(own).limit(1)
        if not await self._database.read(lambda connection: connection.scalar(some)):
            return []
        told = delete(link_news).where(own).returning(link_news.c.other, link_news.c.what)
        rows = await self._database.write(lambda connection: connection.execute(told).all())
        return sorted((row.other, row.what) for row in rows)


def _valid(code: str, person: str, now: float) -> tuple[ColumnElement[bool], ...]:
    """There is such a code, it is somebody else's, and nobody else has looked at it before."""
    digests = _digest(code), _digest(f"{code}/{person}")
    return link_codes.c.digest.in_(digests), link_codes.c.expires_at > now, link_codes.c.person != person


def _waiting(person: str, now: float) -> tuple[ColumnElement[bool], ...]:
    return link_requests.c.person == person, link_requests.c.expires_at > now


def _accept(connection: Connection, person: str, now: float) -> str | None:
    _take_turns(connection)
    other: str | None = connection.scalar(
        delete(link_requests).where(*_waiting(person, now)).returning(link_requests.c.other)
    )
    if other is None:
        return None
    kept, joining = people_of(connection, person), people_of(connection, other)
    if kept[0] != joining[0]:
        _join(connection, [*kept, *joining], kept[0], joining[0])
        _tell(connection, [each for each in [*kept, *joining] if each != person], person, "linked")
    return other


def _tell(connection: Connection, people: Sequence[str], who: str, what: News) -> None:
    """What `who` has done is news to these."""
    for each in people:
        upsert(connection, link_news, {"person": each, "other": who, "what": what})


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
    _tell(connection, rest, person, "unlinked")
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
