"""Which posts a page gets: the newest with its first message, and earlier ones when somebody scrolls up.

A first load is bounded in bytes, whatever people have posted: pages of posts are cut by size, and a post that is longer
than `HELD_BYTES` comes as its head alone until somebody asks for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.web.channel import protocol
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.deltas import View
from adapters.web.posts.posts import Post, Posts

PAGE_BYTES = 256 * 1024
PAGE_POSTS = 50
HELD_BYTES = 64 * 1024
_DRAWN_AT_ONCE = 2
"""Requests for posts that are not in memory: drawing a long one takes a thread, and answers need theirs."""
_THUMBNAIL_BYTES = 16 * 1024
"""What a browser loads for a picture that is shown, roughly."""


@dataclass(frozen=True, slots=True)
class Section:
    """Views as JSON, oldest first; `earlier` says whether there are posts before them, `whole` holds those that are."""

    views: Sequence[str]
    earlier: bool
    whole: Sequence[View] = ()


class History:
    def __init__(self, board: ChannelLog, posts: Posts) -> None:
        self._board = board
        self._posts = posts
        self._drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)

    def newest(self) -> Section:
        """The end of the channel, from memory."""
        return self._of(self._board.posts(), more=self._board.is_full)

    async def before(self, position: int) -> Section:
        """The posts before a position. Raises StorageError."""
        in_memory = [post for post in self._board.posts() if post.position < position]
        if in_memory:
            return self._of(in_memory, more=self._board.is_full)
        async with self._drawing:
            stored = await self._posts.load(PAGE_POSTS, before=position)
            return await asyncio.to_thread(self._of, stored, more=len(stored) == PAGE_POSTS)

    async def whole(self, post_id: str) -> View | None:
        """The view of a post whose text was held back. Raises StorageError."""
        if (drawn := self._board.view(post_id)) is not None:
            return drawn
        async with self._drawing:
            post = await self._board.post(post_id)
            return None if post is None else await asyncio.to_thread(self._board.draw, post)

    def _of(self, posts: Sequence[Post], *, more: bool) -> Section:
        """As many of the newest as fit, at least one. Slow where posts are not in memory: run it off the loop then.

        Args:
            more: there are, or may be, posts before all of these.
        """
        views: list[str] = []
        whole: list[View] = []
        left = PAGE_BYTES
        for post in reversed(posts[-PAGE_POSTS:]):
            drawn = self._board.view(post.id) or self._board.draw(post)
            # What grows is sent again and again anyway.
            held = len(drawn.json) > HELD_BYTES and not post.frame.growing
            view = json.dumps(protocol.head(post, len(drawn.json))) if held else drawn.json
            left -= len(view) + _THUMBNAIL_BYTES * sum(1 for each in post.attachments if each.id)
            if views and left < 0:
                break
            views.append(view)
            if not held:
                whole.append(drawn)
        return Section(views[::-1], earlier=more or len(views) < len(posts), whole=whole[::-1])
