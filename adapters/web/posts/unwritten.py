"""Posts that were changed and are not on disk yet: written behind, and again until that succeeds."""

from __future__ import annotations

import asyncio

from adapters.storage.errors import WriteRefused
from adapters.web.posts.posts import Post, Posts
from adapters.web.repeated_faults import RepeatedFaults
from bots.ports import StorageError

_WRITE_INTERVAL_S = 0.5
_REMEMBERED_POSTS = 1_000


class Unwritten:
    """The newest state of each changed post, until it is stored."""

    def __init__(self, posts: Posts, faults: RepeatedFaults) -> None:
        self._posts = posts
        self._faults = faults
        self._changed: dict[str, Post] = {}
        self._news = asyncio.Event()
        self.written: dict[str, int] = {}
        """By post: the revision that was written last; of those written longest ago nothing is known."""
        self.writing = asyncio.Lock()
        """Held by whoever writes a post, so that no older state overtakes a newer one."""

    def __contains__(self, post_id: object) -> bool:
        return post_id in self._changed

    def get(self, post_id: str) -> Post | None:
        return self._changed.get(post_id)

    def put(self, post: Post) -> None:
        self._changed[post.id] = post

    def note(self, post: Post) -> None:
        """It was written."""
        self.written.pop(post.id, None)
        self.written[post.id] = post.revision
        if len(self.written) > _REMEMBERED_POSTS:
            del self.written[next(iter(self.written))]

    def drop(self, post_id: str) -> None:
        self._changed.pop(post_id, None)

    def soon(self) -> None:
        """Something waits that `run` is to write."""
        self._news.set()

    async def flush(self, asker: str | None = None) -> None:
        """Store what was changed until now, of one person or of everybody.

        Raises:
            StorageError: if that fails; what is left stays, and is written later.
        """
        async with self.writing:
            for post_id, post in list(self._changed.items()):
                if self._changed.get(post_id) is post and asker in (None, post.asker):
                    await self._write(post)

    async def try_to_flush(self) -> None:
        """The same; what fails is written later."""
        try:
            await self.flush()
        except StorageError as error:
            self._faults.say("the page's posts are stored later", error)
            self.soon()

    async def run(self) -> None:
        """Writes what waits, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.try_to_flush()
            await asyncio.sleep(_WRITE_INTERVAL_S)

    async def _write(self, post: Post) -> None:
        try:
            await self._posts.put(post)
            self.note(post)
        except StorageError as error:
            if not isinstance(error, WriteRefused):
                # To the end of the queue: one that always fails must not keep the others waiting.
                if (newest := self._changed.pop(post.id, None)) is not None:  # it may have been removed meanwhile
                    self._changed[post.id] = newest
                raise
            self._faults.say(f"post {post.id} is not stored", error)
        except Exception as error:  # it costs this post alone
            self._faults.say(f"post {post.id} is not stored", error)
        if self._changed.get(post.id) is post:
            del self._changed[post.id]
