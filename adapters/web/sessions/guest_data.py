"""What the page holds of people in memory, beside its tables: posts that are shown, files and words for one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.delivery.renderers.formulas.mathml import mathml
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.files.uploads import Uploads
from adapters.web.posts.posts import Post, Posts
from bots.profile.personal import PersonalData, Retention

_DAY_S = 86_400.0


class GuestData(PersonalData):
    """Takes posts off the page before they are deleted from the tables, where all of them are."""

    def __init__(self, board: ChannelLog, audience: Subscribers, uploads: Uploads, posts: Posts) -> None:
        self._board = board
        self._posts = posts
        self._audience = audience
        self._uploads = uploads

    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        return {}

    async def erase(self, people: Sequence[str], today: str) -> None:
        mathml.cache_clear()  # it remembers formulas of everybody's answers
        for person in people:
            self._audience.forget(person)
            self._uploads.forget(person)
        await self._remove([post for post in self._board.posts() if {post.author, post.asker} & set(people)])

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        count = 0
        if retention.name_days:
            count = await self._posts.forget_names(now - retention.name_days * _DAY_S, limit)
        if not retention.days:
            return count
        before = now - retention.days * _DAY_S
        return count + await self._remove([post for post in self._board.posts() if post.created_at < before][:limit])

    async def _remove(self, posts: Sequence[Post]) -> int:
        for post in posts:
            await self._board.remove(post.id)
        return len(posts)
