"""`bots.ports.Storage` in SQL, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import count
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    bindparam,
    delete,
    func,
    literal,
    select,
    union_all,
    update,
)

from adapters.storage.database.database import Database
from adapters.storage.database.retry import PATIENCE_S, lasting
from adapters.storage.sql.account_links import OF, PROFILE, SqlLinks, in_order, settled_profile
from adapters.storage.sql.person_data import ANSWERED, UNKEPT, SqlPersonalData
from adapters.storage.sql.tables import deliveries, heads, inbox, links, preferences, replies, turns, usage
from adapters.storage.sql.text import AnyText
from adapters.storage.sql.upsert import COUNTED, insert_new, insertion, upsert
from adapters.storage.sql.usage import SqlUsage, add_spent
from adapters.storage.write_behind import WriteBehind
from bots.ports import Delivered, Known, Received, ReplyRecord, Storage, Turn, taken_over
from bots.profile.personal import Spent

_FIELDS = tuple(field.name for field in fields(Turn))
_TURN = tuple(turns.c[name] for name in _FIELDS)
_REPLY = tuple(field.name for field in fields(ReplyRecord))
_HEAD = select(heads.c.turn_id).where(
    heads.c.chat == bindparam("of_chat", type_=AnyText), heads.c.person == bindparam("of_person", type_=AnyText)
)
_SETTINGS = select(preferences.c.name, preferences.c.value).where(preferences.c.person == PROFILE)
_KNOWN = union_all(
    select(literal(1).label("linked"), links.c.person.label("name"), links.c.profile.label("value")).where(
        links.c.profile == PROFILE
    ),
    select(literal(0), preferences.c.name, preferences.c.value).where(preferences.c.person == PROFILE),
    select(literal(2), func.coalesce(func.min(usage.c.day), ""), literal("")).where(
        (usage.c.person == OF) | usage.c.person.in_(select(links.c.person).where(links.c.profile == PROFILE))
    ),
)
"""Who is linked to a person, their settings, and the first day of which usage is kept: one round trip."""
_SETTING, _LINK = 0, 1
_RECEIVED = (inbox.c.account, inbox.c.id, inbox.c.chat, inbox.c.payload, inbox.c.received_at, inbox.c.person)


class SqlStorage(SqlUsage, SqlLinks, SqlPersonalData, Storage):
    """Keeps everything in the database; every method raises `StorageError` where the database fails.

    A method that finds the server away waits a minute for it, except for those that write behind.

    Args:
        process: to which what is taken on belongs, as long as it lives (`leases.living`).
    """

    def __init__(self, database: Database, process: str = "") -> None:
        super().__init__(process)
        self._database = database
        self.behind = WriteBehind(database.write, self._grow_texts)

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        attempts = count()

        @lasting
        async def receive() -> list[Received]:
            again = next(attempts) > 0
            return await self._database.write(
                lambda connection: self._receive(connection, events, again), single=len(events) == 1
            )

        return await receive()

    def _receive(self, connection: Connection, events: Sequence[Received], again: bool) -> list[Received]:
        keep = _keep_event(connection.dialect.name)
        new = []
        for event in events:
            row = _row(event) | {"answered": False, "process": self._process, "of": event.account}
            if connection.execute(keep, row).rowcount or (again and self._kept_before(connection, event)):
                new.append(event)
        return new

    def _kept_before(self, connection: Connection, event: Received) -> bool:
        """Whether the same call kept the event before the connection broke."""
        same = inbox.c.account == event.account, inbox.c.id == event.id, inbox.c.received_at == event.received_at
        own = inbox.c.process == self._process, inbox.c.answered.is_(False)
        return bool(connection.scalar(select(func.count()).select_from(inbox).where(*same, *own)))

    @lasting
    async def unanswered(self, account: str) -> Sequence[Received]:
        await self.orphaned(account)
        own = inbox.c.process == self._process
        query = select(*_RECEIVED).where(inbox.c.account == account, inbox.c.answered.is_(False), own)
        return await self._database.read(lambda connection: _all_received(connection, query))

    @lasting
    async def pending(self, account: str) -> Sequence[Received]:
        query = select(*_RECEIVED).where(inbox.c.account == account, inbox.c.answered.is_(False))
        return await self._database.read(lambda connection: _all_received(connection, query))

    @lasting
    async def orphaned(self, account: str) -> Sequence[Received]:
        lost = inbox.c.account == account, inbox.c.answered.is_(False), self._left(inbox.c.process)
        query = select(*_RECEIVED).where(*lost)
        if not await self._database.read(lambda connection: connection.execute(query.limit(1)).first()):
            return []

        def take(connection: Connection) -> list[Received]:
            taken = update(inbox).where(*lost).values(process=self._process).returning(inbox.c.position, *_RECEIVED)
            rows = sorted(connection.execute(taken).all(), key=lambda row: row.position)
            return [_received(row) for row in rows]

        return await self._database.write(take)

    @lasting
    async def claim(self, reply: ReplyRecord) -> ReplyRecord | None:
        return await self._database.write(lambda connection: self._claim(connection, reply), single=True)

    def _claim(self, connection: Connection, reply: ReplyRecord) -> ReplyRecord | None:
        if insert_new(connection, replies, _row(reply) | {"process": self._process}):
            return reply
        kept = connection.execute(select(replies).where(*_same(reply))).one()
        if kept.process != self._process:
            free = replies.c.process == kept.process, self._left(replies.c.process)
            taken = update(replies).where(*_same(reply), *free).values(process=self._process)
            if not connection.execute(taken).rowcount:
                return None
        return _reply(kept)

    @lasting
    async def reply(self, chat: str, event_id: str) -> ReplyRecord | None:
        query = select(replies).where(replies.c.chat == chat, replies.c.event_id == event_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return _reply(row) if row else None

    @lasting
    async def begin(self, reply: ReplyRecord, turns: Sequence[Turn], head: str, spent: Spent | None = None) -> None:
        def write(connection: Connection) -> None:
            if not self._put_reply(connection, reply, spent):
                raise taken_over(reply)
            _put_turns(connection, *turns)
            upsert(connection, heads, {"chat": reply.chat, "person": reply.person, "turn_id": head})

        await self._database.write(write)

    def keep_soon(self, answer: Turn) -> None:
        self.behind.update_text(answer)

    async def end(self, reply: ReplyRecord, answer: Turn | None, spent: Spent | None = None) -> None:
        if answer is not None:
            self.behind.pop_text(answer.id)

        def write(connection: Connection) -> None:
            if self._put_reply(connection, reply, spent) and answer is not None:
                _put_turns(connection, answer)

        await self.behind.enqueue(write)

    def _put_reply(self, connection: Connection, reply: ReplyRecord, spent: Spent | None = None) -> bool:
        """False, and nothing is changed, where it has become another process's.

        What was `spent` is counted with the first ending: a write that seemed to fail, and is repeated, counts once.
        """
        own = update(replies).where(*_same(reply), replies.c.process == self._process).values(_row(reply))
        if spent is not None and connection.execute(own.where(replies.c.ending == "")).rowcount:
            add_spent(connection, spent)
            return True
        return bool(connection.execute(own).rowcount)

    def _grow_texts(self, connection: Connection, texts: Sequence[Turn]) -> None:
        """Texts of replies that have ended or are not this process's any more are left alone."""
        own = select(replies.c.answer_id).where(
            replies.c.answer_id == turns.c.id,
            replies.c.chat == turns.c.chat,
            replies.c.process == self._process,
            replies.c.ending == "",
        )
        for text in texts:
            grown = {"text": text.text, "thinking": text.thinking, "state": text.state}
            connection.execute(update(turns).where(turns.c.id == text.id, own.exists()).values(grown))

    async def answered(self, account: str, event_id: str) -> None:
        event = inbox.c.account == account, inbox.c.id == event_id
        # Where another process has taken the event over, answering it is that one's business.
        done = update(inbox).where(*event, inbox.c.process == self._process).values(ANSWERED)
        await self.behind.enqueue(lambda connection: connection.execute(done))

    @lasting
    async def preferences(self, person: str) -> Mapping[str, str]:
        return await self._database.read(lambda connection: _settings(connection, person))

    @lasting
    async def known(self, person: str, places: Sequence[str] = ()) -> Known:
        def read(connection: Connection) -> Known:
            bounds = [_settings(connection, place) for place in places]
            rows = connection.execute(_KNOWN, {"of": person}).all()
            linked = [(row.name, row.value) for row in rows if row.linked == _LINK]
            chosen = {row.name: row.value for row in rows if row.linked == _SETTING}
            since = next(row.name for row in rows if row.linked not in (_LINK, _SETTING))
            return Known(in_order(person, linked), chosen, bounds, since)

        return await self._database.read(read)

    @lasting
    async def set_preferences(self, person: str, values: Mapping[str, str | None]) -> None:
        forgotten = [name for name, value in values.items() if value is None]

        def write(connection: Connection) -> None:
            own = {"person": settled_profile(connection, person)}
            kept = [own | {"name": name, "value": value} for name, value in values.items() if value is not None]
            if forgotten:
                of_person = preferences.c.person == own["person"]
                connection.execute(delete(preferences).where(of_person, preferences.c.name.in_(forgotten)))
            if kept:
                upsert(connection, preferences, *kept)

        await self._database.write(write)

    @lasting
    async def head(self, chat: str, person: str) -> str | None:
        of = {"of_chat": chat, "of_person": person}
        return await self._database.read(lambda connection: connection.scalar(_HEAD, of))

    @lasting
    async def set_head(self, chat: str, person: str, turn_id: str | None) -> None:
        def write(connection: Connection) -> None:
            if turn_id is None:
                connection.execute(delete(heads).where(heads.c.chat == chat, heads.c.person == person))
            else:
                upsert(connection, heads, {"chat": chat, "person": person, "turn_id": turn_id})

        await self._database.write(write)

    @lasting
    async def turn(self, turn_id: str) -> Turn | None:
        await self.behind.caught_up(PATIENCE_S)
        query = select(*_TURN).where(turns.c.id == turn_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return _turn(row) if row else None

    @lasting
    async def branch(self, turn_id: str, limit: int) -> Sequence[Turn]:
        if limit < 1:
            return []
        await self.behind.caught_up(PATIENCE_S)  # what was said last belongs to it
        of = {"of": turn_id, "most": limit}
        return await self._database.read(lambda connection: list(map(_turn, connection.execute(_branch(), of).all())))

    async def hide(self, chats: Sequence[str], message_ids: Sequence[str]) -> None:
        asked = select(replies.c.question_id).where(
            replies.c.chat.in_(chats), replies.c.event_id.in_(message_ids), replies.c.question_id.is_not(None)
        )
        shown = select(deliveries.c.answer_id).where(
            deliveries.c.chat.in_(chats), deliveries.c.message_id.in_(message_ids), deliveries.c.position >= 0
        )
        # As one set: for two of them PostgreSQL reads all turns, each time that anybody deletes or edits anything.
        hidden = update(turns).where(turns.c.id.in_(asked.union_all(shown))).values(hidden=True)
        await self.behind.enqueue(lambda connection: connection.execute(hidden))

    @lasting
    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        await self.behind.caught_up(PATIENCE_S)
        query = (
            select(deliveries.c.position, deliveries.c.message_id)
            .where(deliveries.c.chat == chat, deliveries.c.answer_id == answer_id)
            .order_by(deliveries.c.position)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return Delivered.read(answer_id, {row.position: row.message_id for row in rows})

    @lasting
    async def answer_at(self, chat: str, message_id: str) -> str | None:
        await self.behind.caught_up(PATIENCE_S)  # a button may be pressed before its message is recorded
        query = select(deliveries.c.answer_id).where(deliveries.c.chat == chat, deliveries.c.message_id == message_id)
        return await self._database.read(lambda connection: connection.scalar(query))

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        """A message shows one chunk and a chunk is in one message: the newest record holds.

        Where another process has taken the reply over, its records are left alone.
        """
        row = {"chat": chat, "message_id": message_id, "answer_id": answer_id, "position": position}
        replaced = delete(deliveries).where(
            deliveries.c.chat == chat,
            deliveries.c.answer_id == answer_id,
            deliveries.c.position == position,
            deliveries.c.message_id != message_id,
        )
        lost = select(literal(1)).where(
            replies.c.chat == chat, replies.c.answer_id == answer_id, replies.c.process != self._process
        )
        # The chunks before this one are final now: whoever goes on after a crash must have their text.
        text = self.behind.pop_text(answer_id) if position else None

        def write(connection: Connection) -> None:
            if connection.scalar(lost.limit(1)):
                return
            if text is not None:
                self._grow_texts(connection, [text])
            connection.execute(replaced)
            upsert(connection, deliveries, row)

        await self.behind.enqueue(write)

    async def recorded(self) -> None:
        await self.behind.caught_up(None)

    async def supersede(self, chat: str, answer_id: str) -> None:
        """Kept under numbers below 0, which are those of no chunk and, for one answer, each used once."""
        own = deliveries.c.chat == chat, deliveries.c.answer_id == answer_id
        lowest = select(func.coalesce(func.min(deliveries.c.position), 0)).where(*own, deliveries.c.position < 0)
        below = update(deliveries).where(*own, deliveries.c.position > 0)

        def write(connection: Connection) -> None:
            last = connection.scalar(lowest) or 0
            connection.execute(below.values(position=last - deliveries.c.position))

        await self.behind.enqueue(write)

    @lasting
    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        query = (
            select(deliveries.c.message_id)
            .where(deliveries.c.chat == chat, deliveries.c.answer_id == answer_id, deliveries.c.position < 0)
            .order_by(deliveries.c.position)
        )
        return await self._database.read(lambda connection: connection.scalars(query).all())

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        gone = delete(deliveries).where(deliveries.c.chat == chat, deliveries.c.message_id == message_id)
        await self.behind.enqueue(lambda connection: connection.execute(gone))

    async def record_shown(self, chat: str, answer_id: str) -> None:
        over = replies.c.chat == chat, replies.c.answer_id == answer_id, replies.c.ending != ""
        # What was asked and said is in the conversation, for as long as that is kept.
        shown = update(replies).where(*over).values(shown=True, request="", ending="{}")
        # An answer that was erased meanwhile, such as the one that says so, leaves no trace of its chat.
        erased = delete(deliveries).where(deliveries.c.chat == chat, deliveries.c.answer_id == answer_id, *UNKEPT)

        def write(connection: Connection) -> None:
            if not connection.execute(shown).rowcount:
                connection.execute(erased)

        await self.behind.enqueue(write)


@cache
def _branch() -> Select[Any]:
    """The turn "of" and its ancestors, at most so many as "most"; each row is read once."""
    newest = turns.c.id == bindparam("of", type_=AnyText)
    line = select(*_TURN, literal(1).label("age")).where(newest).cte("line", recursive=True)
    older = select(*_TURN, line.c.age + 1).join(line, turns.c.id == line.c.parent_id)
    line = line.union_all(older.where(line.c.age < bindparam("most", type_=Integer)))
    return select(*(line.c[name] for name in _FIELDS)).order_by(line.c.age.desc())


@cache
def _keep_event(dialect: str) -> Any:
    """Inserts an event that is not there yet behind the newest one of its account."""
    # The index has the state before the position, so the newest one is looked for in each state.
    newest = [
        select(inbox.c.position)
        .where(inbox.c.account == bindparam("of", type_=AnyText), inbox.c.answered.is_(answered))
        .order_by(inbox.c.position.desc())
        .limit(1)
        .subquery()
        for answered in (False, True)
    ]
    both = union_all(*(select(each.c.position) for each in newest)).subquery()
    behind = func.coalesce(select(func.max(both.c.position)).scalar_subquery(), 0) + 1
    return insertion(dialect, inbox).values(position=behind).on_conflict_do_nothing().execution_options(**COUNTED)


def _settings(connection: Connection, person: str) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(_SETTINGS, {"of": person})}


def _all_received(connection: Connection, query: Select[Any]) -> list[Received]:
    """Oldest first."""
    return [_received(row) for row in connection.execute(query.order_by(inbox.c.position))]


def _received(row: Row[Any]) -> Received:
    return Received(**{column.name: getattr(row, column.name) for column in _RECEIVED})


def _put_turns(connection: Connection, *kept: Turn) -> None:
    upsert(connection, turns, *map(_row, kept), stays="hidden")


def _row(kept: Received | ReplyRecord | Turn) -> dict[str, Any]:
    # `asdict` copies deeply, which takes longer than the insert.
    return {field.name: getattr(kept, field.name) for field in fields(kept)}


def _same(reply: ReplyRecord) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return replies.c.chat == reply.chat, replies.c.event_id == reply.event_id


def _reply(row: Row[Any]) -> ReplyRecord:
    return ReplyRecord(**{name: getattr(row, name) for name in _REPLY})


def _turn(row: Sequence[Any]) -> Turn:
    # By position: a mapping for each of hundreds of rows takes longer than the query.
    return Turn(*row)
