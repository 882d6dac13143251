"""The channel of the page in SQL: its posts as documents, its files and people's names.

The page's own types are its business and this room does not know them: whoever composes the two hands in how a post
becomes a document and back (`adapters.web.posts.posts.encode` and `decode`) and what a file is made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, insert, or_, select, update

from adapters.storage.database.database import Database
from adapters.storage.errors import Taken
from adapters.storage.sql.tables import files, names, page_secrets, posts
from adapters.storage.sql.upsert import insert_new, upsert
from bots.names import keys

_APPENDING = 7_827_341_190_459
"""Names PostgreSQL's lock: posts of several processes get their positions one after the other."""


_KEY = "identities"
_KEYS = ("folded", "skeleton", "raised")
"""The columns for what a name looks like."""


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


class AnyPost(_Identified, Protocol):
    """What this room looks at in a post; "" as `nonce` or `event_id` means none."""

    @property
    def position(self) -> int: ...
    @property
    def nonce(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def attachments(self) -> Sequence[_Identified]: ...


class AnyFile(_Identified, Protocol):
    """A file with its bytes."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def data(self) -> bytes: ...


P = TypeVar("P", bound=AnyPost)
F = TypeVar("F", bound=AnyFile)


class SqlPosts(Generic[P, F]):
    """Implements `adapters.web.posts.posts.Posts`; every method raises `StorageError` where the database fails.

    Args:
        encode: makes a document of a post; `decode` is its inverse.
        make_file: called with `id`, `name`, `media_type` and `data`.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        *,
        encode: Callable[[P], str],
        decode: Callable[[str], P],
        make_file: Callable[..., F],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._clock = clock
        self._encode = encode
        self._decode = decode
        self._make_file = make_file

    async def load(self, limit: int, before: int | None = None) -> Sequence[P]:
        # SQLite takes a negative limit for none.
        query = select(posts.c.document).order_by(posts.c.position.desc()).limit(max(limit, 0))
        if before is not None:
            query = query.where(posts.c.position < before)
        documents = await self._database.read(lambda connection: connection.scalars(query).all())
        return [self._decode(document) for document in reversed(documents)]

    async def revisions(self, limit: int) -> Sequence[tuple[str, int]]:
        query = select(posts.c.id, posts.c.revision).order_by(posts.c.position.desc()).limit(max(limit, 0))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [(row.id, row.revision) for row in reversed(rows)]

    async def post(self, post_id: str) -> P | None:
        return await self._post_where(posts.c.id == post_id)

    async def append(self, post: P) -> P:
        def write(connection: Connection) -> P:
            if connection.dialect.name == "postgresql":
                # SQLite lets one transaction write at a time anyway.
                connection.execute(select(func.pg_advisory_xact_lock(_APPENDING)))
            same = [column == value for column, value in _made_by(post) if value]
            made = connection.scalar(select(posts.c.document).where(or_(*same))) if same else None
            if made is not None:
                return self._decode(made)
            newest = connection.scalar(select(func.max(posts.c.position))) or 0
            placed = cast(P, replace(cast(Any, post), position=newest + 1))
            connection.execute(insert(posts), self._row(placed))
            return placed

        return await self._database.write(write)

    async def put(self, post: P) -> None:
        await self._put(posts, self._row(post))

    def _row(self, post: P) -> dict[str, Any]:
        return {
            "id": post.id,
            "position": post.position,
            "nonce": post.nonce or None,
            "event_id": post.event_id or None,
            "revision": post.revision,
            "document": self._encode(post),
        }

    async def delete(self, post_id: str) -> None:
        own = posts.c.id == post_id

        def write(connection: Connection) -> None:
            document = connection.scalar(select(posts.c.document).where(own))
            if document is None:
                return
            attached = [attachment.id for attachment in self._decode(document).attachments]
            connection.execute(delete(files).where(files.c.id.in_(attached)))
            connection.execute(delete(posts).where(own))

        await self._database.write(write)

    async def with_nonce(self, nonce: str) -> P | None:
        return await self._post_where(posts.c.nonce == nonce)

    async def with_event(self, event_id: str) -> P | None:
        return await self._post_where(posts.c.event_id == event_id)

    async def put_file(self, stored: F) -> None:
        row = {"id": stored.id, "name": stored.name, "media_type": stored.media_type, "data": stored.data}
        await self._put(files, row)

    async def file(self, file_id: str) -> F | None:
        query = select(files).where(files.c.id == file_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return self._make_file(**row._mapping) if row else None

    async def name_of(self, person: str) -> str | None:
        query = select(names.c.name).where(names.c.person == person)
        return await self._database.read(lambda connection: connection.scalar(query))

    async def put_name(self, person: str, name: str) -> bool:
        row = {"person": person, "name": name, **dict(zip(_KEYS, keys(name), strict=True)), "seen_at": self._clock()}
        try:
            await self._put(names, row)
        except Taken:
            return False
        return True

    async def is_free(self, name: str) -> bool:
        alike = [names.c[column] == key for column, key in zip(_KEYS, keys(name), strict=True)]
        query = select(names.c.person).where(or_(*alike)).limit(1)
        return await self._database.read(lambda connection: connection.scalar(query)) is None

    async def saw(self, person: str) -> None:
        query = update(names).where(names.c.person == person).values(seen_at=self._clock())
        await self._database.write(lambda connection: connection.execute(query))

    async def forget_names(self, before: float, limit: int) -> int:
        old = select(names.c.person).where(names.c.seen_at < before).limit(limit)
        query = delete(names).where(names.c.person.in_(old))
        return await self._database.write(lambda connection: connection.execute(query).rowcount)

    async def key(self, new: str) -> str:
        def write(connection: Connection) -> str:
            insert_new(connection, page_secrets, {"name": _KEY, "value": new})
            query = select(page_secrets.c.value).where(page_secrets.c.name == _KEY)
            return str(connection.scalar(query))

        return await self._database.write(write)

    async def count_names(self) -> int:
        query = select(func.count()).select_from(names)
        return await self._database.read(lambda connection: connection.scalar(query)) or 0

    async def _post_where(self, condition: ColumnElement[bool]) -> P | None:
        query = select(posts.c.document).where(condition)
        document = await self._database.read(lambda connection: connection.scalar(query))
        return None if document is None else self._decode(document)

    async def _put(self, table: Table, row: dict[str, Any]) -> None:
        await self._database.write(lambda connection: upsert(connection, table, row))


def _made_by(post: AnyPost) -> list[tuple[Column[str], str]]:
    """What makes at most one post."""
    return [(posts.c.nonce, post.nonce), (posts.c.event_id, post.event_id)]
