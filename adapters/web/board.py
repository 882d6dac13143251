"""The shared channel: its posts, who sees their changes, and when they reach the disk.

New posts and finished ones are kept before the call returns. What grows is kept behind, twice a second and only the
newest state, because it is edited ten times a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from adapters.delivery.channel import Frame
from adapters.storage.errors import Taken
from adapters.web import protocol
from adapters.web.audience import Audience
from adapters.web.posts import Post, Posts

_log = logging.getLogger(__name__)

SHOWN_POSTS = 200
_WRITE_INTERVAL_S = 0.5


class Board:
    """The channel that everybody on the page sees.

    Args:
        render: Markdown to safe HTML; runs in a thread.
        clock: seconds since the epoch.
        colour: Markdown to safe HTML with coloured code, "" where there is nothing to colour.
    """

    def __init__(
        self,
        posts: Posts,
        audience: Audience,
        render: Callable[[str], str],
        clock: Callable[[], float] = time.time,
        colour: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self._posts = posts
        self._audience = audience
        self._render = render
        self._clock = clock
        self._colour = colour
        self._coloured: dict[str, tuple[str, str]] = {}
        """By post: the Markdown and its coloured HTML. A post that leaves `_views` leaves this too."""
        self._plain: dict[str, None] = {}
        self._finished = asyncio.Event()
        self._recent: dict[str, Post] = {}
        self._views: dict[str, tuple[int, str]] = {}
        self._position = 0
        self._dirty: dict[str, Post] = {}
        self._dirtied = asyncio.Event()
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Loads the newest posts and renders them."""
        for post in await self._posts.load(SHOWN_POSTS):
            self._recent[post.id] = post
            self._position = post.position
        views = await asyncio.to_thread(self._draw_all, list(self._recent.values()))
        self._views.update(views)
        for post in reversed(self._recent.values()):
            self._want_colours(post)

    def views(self) -> list[str]:
        """The newest posts as JSON, oldest first."""
        return [self._views[post_id][1] for post_id in self._recent if post_id in self._views]

    def posts(self) -> list[Post]:
        """The newest posts, oldest first."""
        return list(self._recent.values())

    def growing(self, asker: str | None = None) -> list[Post]:
        """The answers that are being written, for one person or for all."""
        return [post for post in self._recent.values() if post.frame.growing and asker in (None, post.asker)]

    async def post(self, post_id: str) -> Post | None:
        return self._recent.get(post_id) or self._dirty.get(post_id) or await self._posts.post(post_id)

    async def add(self, **fields: Any) -> Post:
        """Makes a post of the given fields of `Post`, keeps it and shows it to everybody."""
        self._position += 1
        post = Post(id=secrets.token_hex(8), position=self._position, created_at=self._clock(), **fields)
        async with self._writing:
            post = await self._put_at_the_end(post)
        self._remember(post)
        await self._show(post)
        return post

    async def _put_at_the_end(self, post: Post) -> Post:
        try:
            await self._posts.put(post)
        except Taken:  # another process's page has put one there
            newest = await self._posts.load(1)
            self._position = newest[0].position + 1 if newest else post.position
            post = replace(post, position=self._position)
            await self._posts.put(post)
        return post

    async def change(self, post_id: str, frame: Frame) -> bool:
        """Puts another frame into the post; False where the post is gone."""
        old = await self.post(post_id)
        if old is None:
            return False
        post = replace(old, frame=frame, revision=old.revision + 1)
        if post_id in self._recent:
            self._recent[post_id] = post
        self._dirty[post_id] = post
        await self._show(post)
        if frame.growing or not await self._flushed():
            self._dirtied.set()
        return True

    async def remove(self, post_id: str) -> None:
        self._recent.pop(post_id, None)
        self._forget_view(post_id)
        self._dirty.pop(post_id, None)
        async with self._writing:
            await self._posts.delete(post_id)
        self._audience.broadcast(post_id, protocol.remove(post_id))

    async def write_behind(self) -> None:
        """Keeps what grows, until it is cancelled."""
        while True:
            await self._dirtied.wait()
            self._dirtied.clear()
            if not await self._flushed():
                self._dirtied.set()
            await asyncio.sleep(_WRITE_INTERVAL_S)

    async def add_colours(self) -> None:
        """Colours the code of finished posts, one post after the other, until it is cancelled."""
        while self._colour is not None:
            await self._finished.wait()
            self._finished.clear()
            while self._plain:
                post_id = next(iter(self._plain))
                del self._plain[post_id]
                await self._add_colours(post_id, self._colour)

    async def _add_colours(self, post_id: str, colour: Callable[[str], Awaitable[str]]) -> None:
        post = self._recent.get(post_id)
        if post is None:
            return
        try:
            html = await colour(post.frame.markdown)
        except Exception:  # this post stays plain, and the next one gets its colours
            _log.exception("post %s stays without colours", post_id)
            return
        now = self._recent.get(post_id)
        if html and now is not None and now.frame.markdown == post.frame.markdown:
            self._coloured[post_id] = post.frame.markdown, html
            self._recent[post_id] = replace(now, revision=now.revision + 1)
            await self._show(self._recent[post_id])

    def _want_colours(self, post: Post) -> None:
        if self._colour is None or post.kind == "person" or post.frame.growing or post.id not in self._recent:
            return
        if self._coloured.get(post.id, ("", ""))[0] != post.frame.markdown:
            self._plain[post.id] = None
            self._finished.set()

    def _forget_view(self, post_id: str) -> None:
        for kept in (self._views, self._coloured, self._plain):
            kept.pop(post_id, None)

    async def flush(self) -> None:
        """Everything that was changed until now is on disk when this returns."""
        async with self._writing:
            while self._dirty:
                post_id, post = next(iter(self._dirty.items()))
                await self._posts.put(post)
                if self._dirty.get(post_id) is post:
                    del self._dirty[post_id]

    async def _flushed(self) -> bool:
        """Flushes; False where it failed, and what is dirty stays so: a full disk must not end the page."""
        try:
            await self.flush()
        except Exception:
            _log.exception("the posts could not be kept")
            return False
        return True

    def draw(self, post: Post) -> str:
        """The post's view as JSON. Slow for long posts: run it off the loop."""
        return json.dumps(protocol.view(post, self._html(post)), separators=(",", ":"))

    def _html(self, post: Post) -> str:
        if post.kind == "person":
            return ""
        markdown, html = self._coloured.get(post.id, ("", ""))
        return html if html and markdown == post.frame.markdown else self._render(post.frame.markdown)

    def _draw_all(self, posts: Sequence[Post]) -> dict[str, tuple[int, str]]:
        return {post.id: (post.revision, self.draw(post)) for post in posts}

    def _remember(self, post: Post) -> None:
        self._recent[post.id] = post
        while len(self._recent) > SHOWN_POSTS:
            oldest = next(iter(self._recent))
            del self._recent[oldest]
            self._forget_view(oldest)

    async def _show(self, post: Post) -> None:
        """Draws and sends the post, unless a newer state of it was drawn meanwhile."""
        drawn = await asyncio.to_thread(self.draw, post)
        shown, _ = self._views.get(post.id, (-1, ""))
        if post.id in self._recent and post.revision > shown:
            self._views[post.id] = (post.revision, drawn)
        if post.revision > shown:
            self._audience.broadcast(post.id, protocol.post(drawn))
        self._want_colours(post)
