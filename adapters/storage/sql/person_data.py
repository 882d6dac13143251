"""`bots.profile.personal.PersonalData` in SQL: what names a person, in every table."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    or_,
    select,
    tuple_,
    update,
)

from adapters.storage.database.database import Database
from adapters.storage.database.retry import lasting
from adapters.storage.sql.quotas import carry_over, forget_before
from adapters.storage.sql.tables import (
    WAITS,
    deliveries,
    files,
    heads,
    histograms,
    inbox,
    link_codes,
    link_news,
    link_requests,
    links,
    names,
    posts,
    preferences,
    processes,
    replies,
    turns,
    usage,
)
from bots.profile.personal import PersonalData, Retention

DAY_S = 86_400.0
_BY_PERSON = (preferences, replies, turns, heads, usage, histograms, links, link_codes, link_requests, link_news, names)
_OF_LINKING = (link_codes, link_requests, link_news)
"""What is kept until somebody answers or is told."""
_MOST_VARIABLES = 500
BATCH = 500
"""Rows that are deleted in one transaction."""
READ_MARKS = "read:"
"""How the rows of `preferences` begin that say how far each channel was read."""
ANSWERED = {"answered": True, "payload": "", "chat": "", "person": ""}
"""What is kept of an event that has been answered: that it was."""
_BEGUN_WITHIN_S = 3_600.0
"""Until then what is being asked has been kept, or it never will be."""
_MOST_UNKEPT = 10_000
_WIPED_WITHIN_S = 5.0
_WIPE_AGAIN_S = 0.2
log = logging.getLogger(__name__)
UNKEPT = (
    ~exists().where(turns.c.id == deliveries.c.answer_id),
    ~exists().where(replies.c.chat == deliveries.c.chat, replies.c.answer_id == deliveries.c.answer_id),
)


class SqlPersonalData(PersonalData):
    """A part of `adapters.storage.sql.storage.SqlStorage`."""

    _database: Database

    def __init__(self, process: str) -> None:
        self._process = process
        self._unkept: dict[tuple[str, str], float] = {}
        self._looked_at = float("-inf")
        self._unwiped = False
        """Something was erased that a file still holds, because somebody was reading it."""

    def _left(self, process: Column[str]) -> ColumnElement[bool]:
        """Whether that process, which is another one, lives no more."""
        return (process != self._process) & process.not_in(select(processes.c.id))

    @lasting
    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        return await self._database.read(lambda connection: _export(connection, people))

    @lasting
    async def erase(self, people: Sequence[str], today: str) -> None:
        """In many small transactions, so that others need not wait; what tells who is linked goes last."""
        alone = await self._database.read(lambda connection: _chats_of_nobody_else(connection, people))
        await self._erase_posts(people)
        for own in ((turns, turns.c.id, turns.c.id), (replies, replies.c.event_id, replies.c.answer_id)):
            while await self._erase_some(*own, people):
                pass
        for chat in alone:
            while await self._delete_some(deliveries, deliveries.c.chat == chat, BATCH):
                pass
        while await self._delete_some(histograms, histograms.c.person.in_(people), BATCH):
            pass
        await self._erase_events(people)
        channels = [chat.rpartition(":")[2] for chat in alone]

        def write(connection: Connection) -> None:
            carry_over(connection, people, today)
            # How far a channel was read is kept under its id.
            marks = preferences.c.person.startswith(READ_MARKS), preferences.c.name.in_(channels)
            connection.execute(delete(preferences).where(*marks))
            for table in _BY_PERSON:
                connection.execute(delete(table).where(table.c.person.in_(people)))
            for table in (link_requests, link_news):
                connection.execute(delete(table).where(table.c.other.in_(people)))

        await self._database.write(write)
        await self._wipe()

    async def _wipe(self) -> None:
        """Return when no file holds what was deleted. While somebody reads on (a backup), it is left for later."""
        self._unwiped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_WIPED_WITHIN_S):
                while not await self._database.wipe():  # noqa: ASYNC110  # another process reads it
                    await asyncio.sleep(_WIPE_AGAIN_S)
                self._unwiped = False
                return
        log.warning("what was erased stays in the write-ahead log until nobody is reading the database")

    async def _erase_some(self, table: Table, name: Column[str], answer: Column[str], people: Sequence[str]) -> bool:
        """Deletes some turns or replies with the messages that show them; whether there were any.

        Args:
            name: of a row, within its chat.
            answer: what its messages show.
        """
        query = select(table.c.chat, name.label("name"), answer.label("answer")).where(table.c.person.in_(people))
        rows = await self._database.read(lambda connection: connection.execute(query.limit(BATCH)).all())
        # By chat: SQLite looks pairs of values up in whole tables.
        chats = defaultdict(list)
        for row in rows:
            chats[row.chat].append(row)

        def write(connection: Connection) -> None:
            for chat, some in chats.items():
                shown = deliveries.c.chat == chat, deliveries.c.answer_id.in_([row.answer for row in some])
                connection.execute(delete(deliveries).where(*shown))
                connection.execute(delete(heads).where(heads.c.turn_id.in_([row.answer for row in some])))
                own = table.c.chat == chat, name.in_([row.name for row in some])
                connection.execute(delete(table).where(*own))

        if rows:
            await self._database.write(write)
        return bool(rows)

    async def _erase_posts(self, people: Sequence[str]) -> None:
        about = select(posts.c.id).where(_about(people))
        ids = await self._database.read(lambda connection: connection.scalars(about).all())
        for start in range(0, len(ids), BATCH):
            some = select(posts.c.id, posts.c.document).where(posts.c.id.in_(ids[start : start + BATCH]))
            await self._database.write(partial(_delete_posts, which=some))

    @lasting
    async def erase_in_hand(self, people: Sequence[str]) -> None:
        """Close also the events of these people that running processes have in hand, for who is none of them."""
        await self._close_events(inbox.c.person.in_(people))

    async def _close_events(self, *which: ColumnElement[bool]) -> None:
        closed = update(inbox).where(*which, WAITS).values(ANSWERED)

        def write(connection: Connection) -> None:
            connection.execute(closed)

        await self._database.write(write)

    async def _erase_events(self, people: Sequence[str]) -> None:
        """Marks what waits as answered. Older programs kept people's ids in the ids of answered events."""
        # What a running process has in hand, the wish to be erased among it, is answered in a moment.
        await self._close_events(inbox.c.person.in_(people), self._left(inbox.c.process))
        named = or_(*(inbox.c.id.startswith(f"{person}/", autoescape=True) for person in people))
        while await self._delete_some(inbox, named & inbox.c.answered, BATCH):
            pass

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        def old(days: int) -> float:
            return now - days * DAY_S if days else float("-inf")

        count = await self._expire_turns(old(retention.days), limit)
        count += await self._expire_posts(old(retention.days), limit)
        for table in (usage, histograms):
            count += await self._delete_some(table, table.c.day < _date(old(retention.usage_days)), limit)
        count += await self._delete_some(inbox, inbox.c.received_at < old(retention.event_days), limit)
        days = min(retention.days or retention.event_days, retention.event_days)
        count += await self._delete_some(replies, replies.c.created_at < old(days), limit)
        count += await self._expire_unkept(now)
        await self._database.write(partial(forget_before, day=_date(now)))
        for table in (link_codes, link_requests):
            count += await self._delete_some(table, table.c.expires_at < now, limit)
        if count or self._unwiped:
            self._unwiped = not await self._database.wipe()
        return count

    async def _expire_turns(self, before: float, limit: int) -> int:
        limit = min(limit, _MOST_VARIABLES)
        query = select(turns.c.id).where(turns.c.created_at < before).order_by(turns.c.created_at).limit(limit)
        ids = await self._database.read(lambda connection: connection.scalars(query).all())

        def write(connection: Connection) -> None:
            shown = select(turns.c.chat, turns.c.id).where(turns.c.id.in_(ids))
            answers = tuple_(deliveries.c.chat, deliveries.c.answer_id)
            connection.execute(delete(deliveries).where(answers.in_(shown)))
            connection.execute(delete(heads).where(heads.c.turn_id.in_(ids)))
            connection.execute(delete(turns).where(turns.c.id.in_(ids)))

        if ids:
            await self._database.write(write)
        return len(ids)

    async def _expire_unkept(self, now: float) -> int:
        """Deletes messages of questions and answers that were refused: nothing else is kept of these.

        While something is being asked it looks the same, so they are deleted an hour after they were found.
        """
        due = [key for key, found_at in self._unkept.items() if found_at <= now - _BEGUN_WITHIN_S]
        if due := due[: _MOST_VARIABLES // 2]:
            here = tuple_(deliveries.c.chat, deliveries.c.message_id).in_(due)
            await self._database.write(lambda connection: connection.execute(delete(deliveries).where(here, *UNKEPT)))
            for key in due:
                del self._unkept[key]
        elif not self._looked_at <= now < self._looked_at + _BEGUN_WITHIN_S / 2:
            self._looked_at = now
            query = select(deliveries.c.chat, deliveries.c.message_id).where(*UNKEPT).limit(_MOST_UNKEPT)
            rows = await self._database.read(lambda connection: connection.execute(query).all())
            found = [(row.chat, row.message_id) for row in rows]
            self._unkept = {key: self._unkept.get(key, now) for key in found}
        return len(due)

    async def _expire_posts(self, before: float, limit: int) -> int:
        """Posts have no date outside of their document, but the oldest come first."""
        query = select(posts.c.id, posts.c.document).order_by(posts.c.position).limit(min(limit, _MOST_VARIABLES))
        if before < 0:
            return 0
        oldest = await self._database.read(lambda connection: connection.execute(query).all())
        ids = [row.id for row in oldest if json.loads(row.document)["created_at"] < before]
        if ids:
            old = select(posts.c.id, posts.c.document).where(posts.c.id.in_(ids))
            await self._database.write(lambda connection: _delete_posts(connection, old))
        return len(ids)

    async def _delete_some(self, table: Table, condition: ColumnElement[bool], limit: int) -> int:
        some = select(exists().select_from(table).where(condition))
        if not await self._database.read(lambda connection: connection.scalar(some)):
            return 0
        keys = list(table.primary_key.columns)
        oldest = delete(table).where(tuple_(*keys).in_(select(*keys).where(condition).limit(limit)))
        return await self._database.write(lambda connection: connection.execute(oldest).rowcount)


def _export(connection: Connection, people: Sequence[str]) -> dict[str, Any]:
    own = {table: _rows(connection, table, people) for table in _BY_PERSON if table not in _OF_LINKING}
    messages = connection.execute(select(deliveries).where(_shows_what_is_of(people)))
    waiting = connection.scalars(select(inbox.c.payload).where(inbox.c.person.in_(people)))
    page = connection.scalars(select(posts.c.document).where(_about(people)).order_by(posts.c.position))
    conversations = defaultdict(list)
    for turn in sorted(own[turns], key=lambda turn: float(turn["created_at"])):
        conversations[turn.pop("chat")].append(turn)
    return {
        "settings": {row["name"]: row["value"] for row in own[preferences]},
        "names": [row["name"] for row in own[names]],
        "links": own[links],
        "usage": own[usage],
        "times": own[histograms],
        "conversations": conversations,
        "standing_at": own[heads],
        "waiting": list(waiting),
        "replies": own[replies],
        "messages": [dict(row._mapping) for row in messages],
        "page": [json.loads(document) for document in page],
    }


def _shows_what_is_of(people: Sequence[str]) -> ColumnElement[bool]:
    """An answer that was refused has a reply, but no turn."""
    said = select(turns.c.chat, turns.c.id).where(turns.c.person.in_(people))
    answered = select(replies.c.chat, replies.c.answer_id).where(replies.c.person.in_(people))
    return tuple_(deliveries.c.chat, deliveries.c.answer_id).in_(said.union_all(answered))


def _about(people: Sequence[str]) -> ColumnElement[bool]:
    """Posts that these people wrote or that answer them; inside of a JSON string a quote is never alone."""
    needles = [f'"{role}":{json.dumps(person)}' for person in people for role in ("author", "asker")]
    return or_(*(posts.c.document.contains(needle, autoescape=True) for needle in needles))


def _chats_of_nobody_else(connection: Connection, people: Sequence[str]) -> list[str]:
    """Chats in which nobody else has spoken to the bot: direct ones, whose ids are these people's own."""
    tables = heads, replies, turns
    own = {
        chat
        for table in tables
        for chat in connection.scalars(select(table.c.chat).distinct().where(_is_of(table, people)))
    }
    others = (
        exists().where(table.c.chat == bindparam("in_chat"), ~_is_of(table, people)) for table in (heads, replies)
    )
    by_somebody_else = select(or_(*others))
    return [chat for chat in own if not connection.scalar(by_somebody_else, {"in_chat": chat})]


def _is_of(table: Table, people: Sequence[str]) -> ColumnElement[bool]:
    return table.c.person.in_(people)


def _rows(connection: Connection, table: Table, people: Sequence[str]) -> list[dict[str, Any]]:
    rows = connection.execute(select(table).where(table.c.person.in_(people)))
    return [dict(row._mapping) for row in rows]


def _delete_posts(connection: Connection, which: Select[Any]) -> None:
    """With the files that they show."""
    found = connection.execute(which).all()
    shown = [each["id"] for row in found for each in json.loads(row.document).get("attachments", ())]
    ids = [row.id for row in found]
    for column, values in ((files.c.id, shown), (posts.c.id, ids)):
        for start in range(0, len(values), _MOST_VARIABLES):
            connection.execute(delete(column.table).where(column.in_(values[start : start + _MOST_VARIABLES])))


def _date(time: float) -> str:
    """A date before all others where the time is."""
    return "" if time < 0 else datetime.fromtimestamp(time, UTC).date().isoformat()
