"""`bots.ports.Storage` in SQL, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from sqlalchemy import delete, func, literal, select, update

from adapters.storage.database import Database
from adapters.storage.links import SqlLinks, profile_of, settled_profile
from adapters.storage.personal import SqlPersonalData
from adapters.storage.tables import deliveries, heads, inbox, preferences, turns
from adapters.storage.upsert import insert_new, upsert
from adapters.storage.usage import SqlUsage
from bots.ports import Delivered, Received, Storage, Turn

_FIELDS = tuple(field.name for field in fields(Turn))
_RECEIVED = (inbox.c.account, inbox.c.id, inbox.c.chat, inbox.c.payload, inbox.c.received_at)


class SqlStorage(SqlUsage, SqlLinks, SqlPersonalData, Storage):
    """Keeps everything in the database; every method raises `StorageError` where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        new = []
        async with self._database.write() as connection:
            newest = await connection.scalar(select(func.max(inbox.c.position))) or 0
            for position, event in enumerate(events, newest + 1):
                row = {name: getattr(event, name) for name in ("account", "id", "chat", "payload", "received_at")}
                row |= {"position": position, "answered": False}
                inserted = await connection.execute(insert_new(self._database.dialect, inbox, [row]))
                if inserted.rowcount:
                    new.append(event)
        return new

    async def unanswered(self, account: str) -> Sequence[Received]:
        query = select(*_RECEIVED).where(inbox.c.account == account, inbox.c.answered.is_(False))
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(inbox.c.position))
        return [Received(**row._mapping) for row in rows]

    async def answered(self, account: str, event_id: str) -> None:
        done = (
            update(inbox)
            .where(inbox.c.account == account, inbox.c.id == event_id)
            .values(answered=True, payload="", chat="")
        )
        async with self._database.write() as connection:
            await connection.execute(done)

    async def preferences(self, person: str) -> Mapping[str, str]:
        query = select(preferences.c.name, preferences.c.value).where(preferences.c.person == profile_of(person))
        async with self._database.read() as connection:
            rows = await connection.execute(query)
        return {row.name: row.value for row in rows}

    async def set_preferences(self, person: str, values: Mapping[str, str | None]) -> None:
        forgotten = [name for name, value in values.items() if value is None]
        async with self._database.write() as connection:
            profile = await settled_profile(connection, person)
            kept = [{"person": profile, "name": n, "value": value} for n, value in values.items() if value is not None]
            if forgotten:
                own = preferences.c.person == profile
                await connection.execute(delete(preferences).where(own, preferences.c.name.in_(forgotten)))
            if kept:
                await connection.execute(upsert(self._database.dialect, preferences, kept))

    async def head(self, chat: str, person: str) -> str | None:
        query = select(heads.c.turn_id).where(heads.c.chat == chat, heads.c.person == person)
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def set_head(self, chat: str, person: str, turn_id: str | None) -> None:
        async with self._database.write() as connection:
            if turn_id is None:
                await connection.execute(delete(heads).where(heads.c.chat == chat, heads.c.person == person))
            else:
                row = {"chat": chat, "person": person, "turn_id": turn_id}
                await connection.execute(upsert(self._database.dialect, heads, [row]))

    async def turn(self, turn_id: str) -> Turn | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(turns).where(turns.c.id == turn_id))).one_or_none()
        return Turn(**row._mapping) if row else None

    async def branch(self, turn_id: str, limit: int) -> Sequence[Turn]:
        if limit < 1:
            return []
        line = (select(turns.c.id, turns.c.parent_id, literal(1).label("age")).where(turns.c.id == turn_id)).cte(
            "line", recursive=True
        )
        older = select(turns.c.id, turns.c.parent_id, line.c.age + 1)
        line = line.union_all(older.join(line, turns.c.id == line.c.parent_id).where(line.c.age < limit))
        query = select(turns).join(line, turns.c.id == line.c.id).order_by(line.c.age.desc())
        async with self._database.read() as connection:
            rows = await connection.execute(query)
        return [Turn(**row._mapping) for row in rows]

    async def put_turn(self, turn: Turn) -> None:
        row = {name: getattr(turn, name) for name in _FIELDS}
        async with self._database.write() as connection:
            await connection.execute(upsert(self._database.dialect, turns, [row]))

    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        query = (
            select(deliveries.c.message_id)
            .where(deliveries.c.chat == chat, deliveries.c.answer_id == answer_id)
            .order_by(deliveries.c.position)
        )
        async with self._database.read() as connection:
            return Delivered(answer_id, tuple(await connection.scalars(query)))

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        query = select(deliveries.c.answer_id).where(deliveries.c.chat == chat, deliveries.c.message_id == message_id)
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        """A message shows one chunk and a chunk is in one message: the newest record holds."""
        row = {"chat": chat, "message_id": message_id, "answer_id": answer_id, "position": position}
        replaced = delete(deliveries).where(
            deliveries.c.chat == chat,
            deliveries.c.answer_id == answer_id,
            deliveries.c.position == position,
            deliveries.c.message_id != message_id,
        )
        async with self._database.write() as connection:
            await connection.execute(replaced)
            await connection.execute(upsert(self._database.dialect, deliveries, [row]))
