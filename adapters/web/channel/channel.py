"""The page's channel as the delivery sees it: a `Channel` on our own board, seen by one asker."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

from adapters.delivery.channel import Frame, Limits, MessageGone, Rejected, Unsent
from adapters.delivery.pacing.rate_budget import Rate
from adapters.web.channel import protocol
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.guests import BOT_NAME
from adapters.web.posts.posts import Post, PostFile, Posts, StoredFile
from bots.ports import StorageError

CHAT = "web:lobby"
LIMITS = Limits(
    message_units=16_000,
    upload_bytes=8 * 1024 * 1024,
    private_files=True,
    rate=Rate(1, 0.05, burst=20),
    max_chunks=5,
)
"""Code points of Markdown: an edit sends the whole message again, so it has to stay light."""

FILE, PICTURE = "application/octet-stream", "image/png"
"""Media types of what the bot posts; a browser shows the second."""


class WebChannel:
    """Posts on the board; private frames go to the asker's own pages and are not kept.

    Args:
        asker: the person who is answered through this channel, "" for nobody in particular.
    """

    limits = LIMITS

    def __init__(self, board: ChannelLog, posts: Posts, audience: Subscribers, asker: str = "") -> None:
        self._board = board
        self._posts = posts
        self._audience = audience
        self._asker = asker
        self._private: dict[str, Post] = {}

    def measure(self, frame: Frame) -> int:
        """Code points, without the reasoning: it is folded, and may be as long as it likes."""
        return len(frame.markdown) + len(frame.status) + len(frame.failure) + len(frame.footer)

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        self._check(frame)
        if frame.private and self._asker:
            return await self._whisper(self._private_post(reply_to, nonce, kind="bot", frame=frame))
        return await self._add(kind="bot", frame=frame, reply_to=reply_to, nonce=nonce)

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return None

    async def find(self, nonce: str) -> str | None:
        for private in self._private.values():
            if private.nonce == nonce:
                return private.id
        post = await self._posts.with_nonce(nonce) if nonce else None
        return post.id if post else None

    async def edit(self, message_id: str, frame: Frame) -> None:
        self._check(frame)
        private = self._private.get(message_id)
        if private is not None:
            await self._whisper(replace(private, frame=frame, revision=private.revision + 1))
            return
        try:
            is_there = await self._board.change(message_id, frame)
        except StorageError as error:
            raise Unsent(f"post {message_id} could not be read: {error}") from error
        if not is_there:
            raise MessageGone(f"post {message_id} is gone")

    async def delete(self, message_id: str) -> None:
        if self._private.pop(message_id, None) is not None:
            self._audience.tell(self._asker, message_id, protocol.remove(message_id))
            return
        try:
            await self._board.remove(message_id)
        except StorageError as error:
            raise Unsent(f"post {message_id} could not be removed: {error}") from error

    async def typing(self) -> None:
        self._audience.broadcast("typing", protocol.typing())

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        if len(data) > self.limits.upload_bytes:
            raise Rejected(f"a file of {len(data)} bytes is over the limit")
        media_type = PICTURE if name.endswith(".png") else FILE
        stored = StoredFile(id=secrets.token_urlsafe(12), name=name, media_type=media_type, data=data)
        fields: dict[str, Any] = {"kind": "file", "frame": Frame(), "attachments": (_attachment(stored),)}
        if private and self._asker:
            self._audience.handouts.add(self._asker, stored)
            return await self._whisper(self._private_post(reply_to, nonce, **fields))
        return await self._add(stored, reply_to=reply_to, nonce=nonce, **fields)

    async def _add(self, *files: StoredFile, nonce: str, **fields: Any) -> str:
        """Makes the post that the nonce names, once.

        Raises:
            Unsent: the storage failed; trying again is safe.
        """
        try:
            made = await self.find(nonce)
            if made is not None:
                return made
            for file in files:
                await self._posts.put_file(file)
            post = await self._board.add(author="", name=BOT_NAME, asker=self._asker, nonce=nonce, **fields)
        except StorageError as error:
            raise Unsent(f"the post could not be kept: {error}") from error
        return post.id

    def _check(self, frame: Frame) -> None:
        if self.measure(frame) > self.limits.message_units:
            raise Rejected(f"{self.measure(frame)} code points are over the limit")

    def _private_post(self, reply_to: str | None, nonce: str, **fields: Any) -> Post:
        return Post(
            id="private-" + secrets.token_hex(8),
            position=0,
            author="",
            name=BOT_NAME,
            asker=self._asker,
            reply_to=reply_to,
            nonce=nonce,
            created_at=time.time(),
            **fields,
        )

    async def _whisper(self, post: Post) -> str:
        self._private[post.id] = post
        drawn = await asyncio.to_thread(self._board.draw, post)
        self._audience.tell_surely(self._asker, post.id, protocol.notice(drawn.json))
        return post.id


def _attachment(stored: StoredFile) -> PostFile:
    return PostFile(id=stored.id, name=stored.name, media_type=stored.media_type)
