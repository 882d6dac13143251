"""Posts that are kept as long as the process lives; for tests and for a page without a database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from adapters.web.posts.posts import Post, StoredFile, decode, encode
from bots.names import keys

_decoded = lru_cache(10_000)(decode)


class MemoryPosts:
    """A `Posts` that keeps documents, so that what it gives back went through `encode` and `decode`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._documents: dict[str, str] = {}
        self._files: dict[str, StoredFile] = {}
        self._names: dict[str, str] = {}
        self._key = ""

    def _all(self) -> list[Post]:
        return sorted(map(_decoded, self._documents.values()), key=lambda post: post.position)

    async def load(self, limit: int, before: int | None = None) -> Sequence[Post]:
        return [post for post in self._all() if before is None or post.position < before][-limit:]

    async def revisions(self, limit: int) -> Sequence[tuple[str, int]]:
        return [(post.id, post.revision) for post in await self.load(limit)]

    async def append(self, post: Post) -> Post:
        made = await self.with_nonce(post.nonce) or await self.with_event(post.event_id)
        if made is not None:
            return made
        newest = await self.load(1)
        post = replace(post, position=newest[0].position + 1 if newest else 1)
        await self.put(post)
        return post

    async def post(self, post_id: str) -> Post | None:
        document = self._documents.get(post_id)
        return decode(document) if document else None

    async def put(self, post: Post) -> None:
        self._documents[post.id] = encode(post)

    async def delete(self, post_id: str) -> None:
        post = await self.post(post_id)
        for attachment in post.attachments if post else ():
            self._files.pop(attachment.id, None)
        self._documents.pop(post_id, None)

    async def with_nonce(self, nonce: str) -> Post | None:
        return next((post for post in self._all() if nonce and post.nonce == nonce), None)

    async def with_event(self, event_id: str) -> Post | None:
        return next((post for post in self._all() if event_id and post.event_id == event_id), None)

    async def put_file(self, stored: StoredFile) -> None:
        self._files[stored.id] = stored

    async def file(self, file_id: str) -> StoredFile | None:
        return self._files.get(file_id)

    async def name_of(self, person: str) -> str | None:
        return self._names.get(person)

    async def put_name(self, person: str, name: str) -> bool:
        if not self._is_free(name, person):
            return False
        self._names[person] = name
        await self.saw(person)
        return True

    async def is_free(self, name: str) -> bool:
        return self._is_free(name)

    def _is_free(self, name: str, person: str = "") -> bool:
        """For this person."""
        mine = keys(name)
        return not any(
            one == other
            for who, each in self._names.items()
            if who != person
            for one, other in zip(keys(each), mine, strict=True)
        )

    async def saw(self, person: str) -> None:
        self._seen[person] = self._clock()

    async def forget_names(self, before: float, limit: int) -> int:
        old = [person for person in self._names if self._seen[person] < before][:limit]
        for person in old:
            del self._names[person]
        return len(old)

    async def key(self, new: str) -> str:
        self._key = self._key or new
        return self._key

    async def count_names(self) -> int:
        return len(self._names)
