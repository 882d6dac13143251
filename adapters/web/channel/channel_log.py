"""The shared channel: its posts, who sees their changes, and when they reach the disk.

New posts and finished ones are kept before the call returns. What grows is kept behind, twice a second and only the
newest state, because it is edited ten times a second. Several processes may have a board over one database: each shows
what the others post.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from adapters.delivery.channel import Frame
from adapters.web.channel import protocol
from adapters.web.channel.deltas import View
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.posts import Post, Posts
from adapters.web.posts.unwritten import Unwritten
from adapters.web.repeated_faults import RepeatedFaults
from bots.ports import StorageError

_log = logging.getLogger(__name__)

SHOWN_POSTS = 200
_UNSEEN = -1
LOOK_EVERY_S = 2.0
"""How often a page looks for what the page of another process has posted."""


class ChannelLog:
    """The channel that everybody on the page sees.

    Args:
        render: Markdown to safe HTML; runs in a thread.
        clock: seconds since the epoch.
        colour: Markdown to safe HTML with coloured code, "" where there is nothing to colour.
    """

    def __init__(
        self,
        posts: Posts,
        audience: Subscribers,
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
        self._views: dict[str, View] = {}
        self._stored: dict[str, int] = {}
        """By post: the revision that was on the disk at the last look; `_UNSEEN` where that has to be read again."""
        self._faults = RepeatedFaults(_log)
        self._unwritten = Unwritten(posts, self._faults)
        self.flush = self._unwritten.flush
        self.write_behind = self._unwritten.run
        self.leave = self._unwritten.try_to_flush

    async def open(self) -> None:
        """Loads the newest posts and renders them."""
        self._stored = dict(await self._posts.revisions(SHOWN_POSTS))
        for post in await self._posts.load(SHOWN_POSTS):
            self._recent[post.id] = post
        views = await asyncio.to_thread(self._draw_all, list(self._recent.values()))
        self._views.update(views)
        for post in reversed(self._recent.values()):
            self._want_colours(post)

    def view(self, post_id: str) -> View | None:
        """One of the newest posts as it was drawn last; None where it is none of them, or is not drawn yet."""
        return self._views.get(post_id)

    @property
    def is_full(self) -> bool:
        """There may be posts before the newest ones."""
        return len(self._recent) >= SHOWN_POSTS

    def posts(self) -> list[Post]:
        """The newest posts, oldest first."""
        return list(self._recent.values())

    def growing(self, asker: str | None = None) -> list[Post]:
        """The answers that are being written, for one person or for all."""
        return [post for post in self._recent.values() if post.frame.growing and asker in (None, post.asker)]

    async def post(self, post_id: str) -> Post | None:
        return self._recent.get(post_id) or self._unwritten.get(post_id) or await self._posts.post(post_id)

    async def add(self, **fields: Any) -> Post:
        """Makes a post of the given fields of `Post`, keeps it at the end of the channel and shows it to everybody."""
        post = Post(id=secrets.token_hex(8), position=0, created_at=self._clock(), **fields)
        async with self._unwritten.writing:
            post = await self._posts.append(post)
            self._unwritten.note(post)
        if post.id not in self._recent:
            self._remember(post)
        await self._show(self._recent.get(post.id, post))
        return post

    async def change(self, post_id: str, frame: Frame) -> bool:
        """Puts another frame into the post; False where the post is gone."""
        old = await self.post(post_id)
        if old is None:
            return False
        post = replace(old, frame=frame, revision=old.revision + 1)
        if post_id in self._recent:
            self._recent[post_id] = post
        self._unwritten.put(post)
        await self._show(post)
        if frame.growing:
            self._unwritten.soon()
        else:
            await self._unwritten.try_to_flush()
        return True

    async def remove(self, post_id: str) -> None:
        async with self._unwritten.writing:
            await self._posts.delete(post_id)
        self._remove(post_id)

    def _remove(self, post_id: str) -> None:
        self._recent.pop(post_id, None)
        self._forget_view(post_id)
        self._unwritten.drop(post_id)
        self._audience.broadcast(post_id, protocol.remove(post_id))

    async def follow(self) -> None:
        """Shows what other processes post, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.catch_up()
            except StorageError as error:
                self._faults.say("posts of other processes are shown later", error)
            except Exception as error:  # the page goes on without them
                self._faults.say("posts of other processes are not shown", error)

    async def catch_up(self) -> None:
        """Shows what other processes have posted, changed and removed. Raises StorageError."""
        had = list(self._recent)
        stored = dict(await self._posts.revisions(SHOWN_POSTS))
        for post_id, revision in stored.items():
            is_seen = self._stored.get(post_id) == revision or self._unwritten.written.get(post_id) == revision
            if not is_seen and not await self._look_at(post_id, self._recent.get(post_id)):
                stored[post_id] = _UNSEEN
        self._stored = stored
        # Posts that are older than all that were looked at are not known to be gone.
        first = next((n for n, post_id in enumerate(had) if post_id in stored), 0) if len(stored) == SHOWN_POSTS else 0
        for post_id in had[first:]:
            if post_id not in stored and post_id in self._recent:
                self._remove(post_id)

    async def _look_at(self, post_id: str, own: Post | None) -> bool:
        """False: it changed here at the same time, so that another look is needed."""
        post = await self._posts.post(post_id)
        if post is None:
            return True
        if post_id in self._unwritten or self._recent.get(post_id) is not own:
            return False
        if own is not None:
            if own.frame == post.frame:
                return True
            post = replace(post, revision=max(post.revision, own.revision + 1))
        self._remember(post)
        await self._show(post)
        return True

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

    def draw(self, post: Post) -> View:
        """The post as the page draws it. Slow for long posts: run it off the loop."""
        view = View(protocol.view(post, self._html(post)))
        if not post.frame.growing:
            len(view.json)  # what grows is seldom sent as a whole, and what is whole to everybody who comes
        return view

    def _html(self, post: Post) -> str:
        if post.kind == "person":
            return ""
        markdown, html = self._coloured.get(post.id, ("", ""))
        if html and markdown == post.frame.markdown:
            return html
        try:
            return self._render(post.frame.markdown)
        except Exception as error:  # it costs this post its look, and nobody else anything
            self._faults.say(f"post {post.id} is shown as it was written", error)
            return f'<p dir="auto">{escape(post.frame.markdown)}</p>'

    def _draw_all(self, posts: Sequence[Post]) -> dict[str, View]:
        return {post.id: self.draw(post) for post in posts}

    def _remember(self, post: Post) -> None:
        self._recent[post.id] = post
        if any(each.position > post.position for each in list(self._recent.values())[-2:]):
            self._recent = {each.id: each for each in sorted(self._recent.values(), key=lambda each: each.position)}
        while len(self._recent) > SHOWN_POSTS:
            oldest = next(iter(self._recent))
            del self._recent[oldest]
            self._forget_view(oldest)

    async def _show(self, post: Post) -> None:
        """Draws and sends the post, unless a newer state of it was drawn meanwhile."""
        drawn = await asyncio.to_thread(self.draw, post)
        shown = self._views.get(post.id)
        if shown is None or post.revision > shown.revision:
            if post.id in self._recent:
                self._views[post.id] = drawn
            self._audience.broadcast(post.id, drawn, {post.author, post.asker})
        self._want_colours(post)
