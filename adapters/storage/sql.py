"""`bots.ports.Storage` in SQL, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import count
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.behind import Behind
from adapters.storage.database import Database
from adapters.storage.lasting import lasting
from adapters.storage.links import SqlLinks, profile_of, settled_profile
from adapters.storage.personal import SqlPersonalData
from adapters.storage.tables import deliveries, heads, inbox, preferences, processes, replies, turns
from adapters.storage.upsert import insert_new, upsert
from adapters.storage.usage import SqlUsage
from bots.ports import Delivered, Received, Reply, Storage, StorageError, Turn

_FIELDS = tuple(field.name for field in fields(Turn))
_TURN = tuple(turns.c[name] for name in _FIELDS)
_REPLY = tuple(field.name for field in fields(Reply))
_RECEIVED = (inbox.c.account, inbox.c.id, inbox.c.chat, inbox.c.payload, inbox.c.received_at)


class SqlStorage(SqlUsage, SqlLinks, SqlPersonalData, Storage):
    """Keeps everything in the database; every method raises `StorageError` where the database fails.

    A method that finds the server away waits a minute for it, except for those that write `behind`.

    Args:
        process: to which what is taken on belongs, as long as it lives (`processes.living`).
    """

    def __init__(self, database: Database, process: str = "") -> None:
        self._database = database
        self._process = process
        self.behind = Behind(self._write_texts)

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        attempts = count()

        @lasting
        async def receive() -> list[Received]:
            return await self._receive(events, again=next(attempts) > 0)

        return await receive()

    async def _receive(self, events: Sequence[Received], again: bool) -> list[Received]:
        new = []
        async with self._database.write() as connection:
            newest = await connection.scalar(select(func.max(inbox.c.position))) or 0
            for position, event in enumerate(events, newest + 1):
                row = {name: getattr(event, name) for name in ("account", "id", "chat", "payload", "received_at")}
                row |= {"position": position, "answered": False, "process": self._process}
                inserted = await connection.execute(insert_new(self._database.dialect, inbox, [row]))
                if inserted.rowcount or (again and await self._kept_before(connection, event)):
                    new.append(event)
        return new

    async def _kept_before(self, connection: AsyncConnection, event: Received) -> bool:
        """Whether the same call kept the event before the connection broke."""
        same = inbox.c.account == event.account, inbox.c.id == event.id, inbox.c.received_at == event.received_at
        own = inbox.c.process == self._process, inbox.c.answered.is_(False)
        return bool(await connection.scalar(select(func.count()).select_from(inbox).where(*same, *own)))

    @lasting
    async def unanswered(self, account: str) -> Sequence[Received]:
        await self.orphaned(account)
        own = inbox.c.process == self._process
        query = select(*_RECEIVED).where(inbox.c.account == account, inbox.c.answered.is_(False), own)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(inbox.c.position))
        return [Received(**row._mapping) for row in rows]

    @lasting
    async def orphaned(self, account: str) -> Sequence[Received]:
        lost = inbox.c.account == account, inbox.c.answered.is_(False), self._left(inbox.c.process)
        query = select(*_RECEIVED).where(*lost).order_by(inbox.c.position)
        async with self._database.read() as connection:
            if (await connection.execute(query.limit(1))).first() is None:
                return []
        async with self._database.write() as connection:
            found = [Received(**row._mapping) for row in await connection.execute(query.with_for_update())]
            await connection.execute(update(inbox).where(*lost).values(process=self._process))
        return found

    @lasting
    async def claim(self, reply: Reply) -> Reply | None:
        row = asdict(reply) | {"process": self._process}
        async with self._database.write() as connection:
            if (await connection.execute(insert_new(self._database.dialect, replies, [row]))).rowcount:
                return reply
            kept = (await connection.execute(select(replies).where(*_same(reply)))).one()
            if kept.process != self._process:
                free = replies.c.process == kept.process, self._left(replies.c.process)
                taken = update(replies).where(*_same(reply), *free).values(process=self._process)
                if not (await connection.execute(taken)).rowcount:
                    return None
        return _reply(kept)

    @lasting
    async def reply(self, chat: str, event_id: str) -> Reply | None:
        query = select(replies).where(replies.c.chat == chat, replies.c.event_id == event_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _reply(row) if row else None

    @lasting
    async def begin(self, reply: Reply, turns: Sequence[Turn], head: str) -> None:
        async with self._database.write() as connection:
            if not await self._put_reply(connection, reply):
                raise StorageError(f"Event {reply.event_id} of {reply.chat} is another process's now.")
            for turn in turns:
                await self._put_turn(connection, turn)
            row = {"chat": reply.chat, "person": reply.person, "turn_id": head}
            await connection.execute(upsert(self._database.dialect, heads, [row]))

    def keep_soon(self, answer: Turn) -> None:
        self.behind.text(answer)

    async def end(self, reply: Reply, answer: Turn | None) -> None:
        if answer is not None:
            self.behind.taken(answer.id)
        await self.behind.soon(partial(self._end, reply, answer))

    async def _end(self, reply: Reply, answer: Turn | None) -> None:
        async with self._database.write() as connection:
            if await self._put_reply(connection, reply) and answer is not None:
                await self._put_turn(connection, answer)

    async def _put_reply(self, connection: AsyncConnection, reply: Reply) -> bool:
        """False, and nothing is changed, where it has become another process's."""
        own = replies.c.process == self._process
        done = await connection.execute(update(replies).where(*_same(reply), own).values(asdict(reply)))
        return bool(done.rowcount)

    async def _put_turn(self, connection: AsyncConnection, turn: Turn) -> None:
        row = {name: getattr(turn, name) for name in _FIELDS}
        await connection.execute(upsert(self._database.dialect, turns, [row]))

    async def _write_texts(self, texts: Sequence[Turn]) -> None:
        """Texts of replies that have ended or are not this process's any more are left alone."""
        own = select(replies.c.answer_id).where(
            replies.c.answer_id == turns.c.id,
            replies.c.chat == turns.c.chat,
            replies.c.process == self._process,
            replies.c.ending == "",
        )
        async with self._database.write() as connection:
            for text in texts:
                grown = {"text": text.text, "thinking": text.thinking, "state": text.state}
                await connection.execute(update(turns).where(turns.c.id == text.id, own.exists()).values(grown))

    def _left(self, process: Column[str]) -> ColumnElement[bool]:
        """Whether that process, which is another one, lives no more."""
        return (process != self._process) & process.not_in(select(processes.c.id))

    @lasting
    async def answered(self, account: str, event_id: str) -> None:
        done = (
            update(inbox)
            .where(inbox.c.account == account, inbox.c.id == event_id)
            .values(answered=True, payload="", chat="")
        )
        async with self._database.write() as connection:
            await connection.execute(done)

    @lasting
    async def preferences(self, person: str) -> Mapping[str, str]:
        query = select(preferences.c.name, preferences.c.value).where(preferences.c.person == profile_of(person))
        async with self._database.read() as connection:
            rows = await connection.execute(query)
        return {row.name: row.value for row in rows}

    @lasting
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

    @lasting
    async def head(self, chat: str, person: str) -> str | None:
        query = select(heads.c.turn_id).where(heads.c.chat == chat, heads.c.person == person)
        async with self._database.read() as connection:
            return await connection.scalar(query)

    @lasting
    async def set_head(self, chat: str, person: str, turn_id: str | None) -> None:
        async with self._database.write() as connection:
            if turn_id is None:
                await connection.execute(delete(heads).where(heads.c.chat == chat, heads.c.person == person))
            else:
                row = {"chat": chat, "person": person, "turn_id": turn_id}
                await connection.execute(upsert(self._database.dialect, heads, [row]))

    @lasting
    async def turn(self, turn_id: str) -> Turn | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(*_TURN).where(turns.c.id == turn_id))).one_or_none()
        return _turn(row) if row else None

    @lasting
    async def branch(self, turn_id: str, limit: int) -> Sequence[Turn]:
        if limit < 1:
            return []
        line = (select(turns.c.id, turns.c.parent_id, literal(1).label("age")).where(turns.c.id == turn_id)).cte(
            "line", recursive=True
        )
        older = select(turns.c.id, turns.c.parent_id, line.c.age + 1)
        line = line.union_all(older.join(line, turns.c.id == line.c.parent_id).where(line.c.age < limit))
        query = select(*_TURN).join(line, turns.c.id == line.c.id).order_by(line.c.age.desc())
        async with self._database.read() as connection:
            rows = await connection.execute(query)
        return [_turn(row) for row in rows]

    @lasting
    async def put_turn(self, turn: Turn) -> None:
        async with self._database.write() as connection:
            await self._put_turn(connection, turn)

    @lasting
    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        query = (
            select(deliveries.c.message_id)
            .where(deliveries.c.chat == chat, deliveries.c.answer_id == answer_id)
            .order_by(deliveries.c.position)
        )
        async with self._database.read() as connection:
            return Delivered(answer_id, tuple(await connection.scalars(query)))

    @lasting
    async def answer_at(self, chat: str, message_id: str) -> str | None:
        query = select(deliveries.c.answer_id).where(deliveries.c.chat == chat, deliveries.c.message_id == message_id)
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        """A message shows one chunk and a chunk is in one message: the newest record holds."""
        await self.behind.soon(partial(self._record_delivery, chat, answer_id, position, message_id))

    async def _record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        # The chunks before this one are final now: whoever goes on after a crash must have their text.
        if position and (text := self.behind.taken(answer_id)) is not None:
            await self._write_texts([text])
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

    async def record_shown(self, chat: str, answer_id: str) -> None:
        await self.behind.soon(partial(self._record_shown, chat, answer_id))

    async def _record_shown(self, chat: str, answer_id: str) -> None:
        over = replies.c.chat == chat, replies.c.answer_id == answer_id, replies.c.ending != ""
        async with self._database.write() as connection:
            # What was asked and said is in the conversation, for as long as that is kept.
            await connection.execute(update(replies).where(*over).values(shown=True, request="", ending="{}"))


def _same(reply: Reply) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return replies.c.chat == reply.chat, replies.c.event_id == reply.event_id


def _reply(row: Row[Any]) -> Reply:
    return Reply(**{name: getattr(row, name) for name in _REPLY})


def _turn(row: Row[Any]) -> Turn:
    # By position: a mapping for each of hundreds of rows takes longer than the query.
    return Turn(**dict(zip(_FIELDS, row, strict=True)))
