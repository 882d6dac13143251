"""From what a person did on the page to the bot's answer on the board."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from adapters.delivery.channel import Channel, Frame
from adapters.delivery.phrases import Phrases
from adapters.web import protocol
from adapters.web.audience import Audience
from adapters.web.board import Board
from adapters.web.channel import CHAT, WebChannel
from adapters.web.panel import SettingsPanel
from adapters.web.people import BOT_NAME
from adapters.web.posts import Post, Posts
from adapters.web.protocol import Pressed
from adapters.web.tasks import Tasks
from adapters.web.uploads import Upload
from bots.messages import Action, Incoming, Notice, Person, ReplyEvent
from bots.ports import Deliveries

_log = logging.getLogger(__name__)

_TAKEN_UP_WITHIN_S = 600.0
"""What was left unanswered for longer is not answered out of the blue."""
_ASKING = ("/code", "/ask")
"""The other commands answer in private, so nobody can tell whether they were answered."""


class Responder(Protocol):
    """The bot, as a platform sees it."""

    def respond(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]: ...


class Outboxes(Protocol):
    """The delivery: paces, splits and renders the events into messages of the channel."""

    async def deliver(
        self,
        channel: Channel,
        chat: str,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        reply_to: str | None,
        record: Deliveries,
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers run in `tasks`, one for every event, until they are delivered or the page is shut down."""

    bot: Responder
    outboxes: Outboxes
    record: Deliveries
    phrases: Phrases
    panel: SettingsPanel
    board: Board
    posts: Posts
    audience: Audience
    tasks: Tasks

    def to_post(self, post: Post, uploads: Sequence[Upload]) -> None:
        """The bot answers what a person wrote."""
        incoming = Incoming(
            event_id=post.event_id,
            chat=CHAT,
            author=Person(post.author, post.name),
            text=post.frame.markdown,
            pictures=tuple(upload.picture for upload in uploads),
        )
        self._begin(incoming, reply_to=post.id)

    def to_press(self, person: Person, pressed: Pressed) -> None:
        """The bot does what a button says."""
        incoming = Incoming(
            event_id=f"{person.id}/{pressed.client_id or secrets.token_hex(8)}",
            chat=CHAT,
            author=person,
            text=pressed.action.command,
            reply_to=pressed.message_id,
        )
        if pressed.action is Action.STOP:
            self.tasks.begin(self._quietly(incoming))
        else:
            self._begin(incoming, reply_to=pressed.message_id)

    def stop_all_of(self, person: Person) -> None:
        """Nobody is there any more to read what is being written for this person."""
        for post in self.board.growing(person.id):
            self.to_press(person, Pressed(client_id="", action=Action.STOP, message_id=post.id))

    async def take_up(self) -> None:
        """Goes on where an earlier process was killed: closes what it had begun, answers what it had not."""
        await self._close_interrupted()
        for post in self.board.unanswered(_TAKEN_UP_WITHIN_S):
            if post.attachments:  # the pictures were in memory only
                await self._say_broken(post)
            elif not post.frame.markdown.startswith("/") or post.frame.markdown.startswith(_ASKING):
                self.to_post(post, [])

    async def _say_broken(self, post: Post) -> None:
        frame = Frame(failure=self.phrases.broken())
        await self.board.add(
            kind="bot",
            author="",
            name=BOT_NAME,
            frame=frame,
            asker=post.author,
            reply_to=post.id,
            nonce=f"lost {post.id}",
        )

    async def _close_interrupted(self) -> None:
        """Marks the answers that were left unfinished, in the same posts."""
        for post in self.board.growing():
            frame = Frame(
                markdown=post.frame.markdown,
                thinking=post.frame.thinking,
                failure=self.phrases.interrupted(),
                actions=(Action.REGENERATE, Action.CONTINUE),
            )
            await self.board.change(post.id, frame)

    def _begin(self, incoming: Incoming, *, reply_to: str) -> None:
        self.tasks.begin(self._answer(incoming, reply_to))

    async def _quietly(self, incoming: Incoming) -> None:
        """The stopped answer shows by itself what the bot says to a pressed Stop; only a screen reader is told."""
        try:
            async with aclosing(self.bot.respond(incoming)) as events:
                async for event in events:
                    if isinstance(event, Notice):
                        self.audience.tell(incoming.author.id, "", protocol.said(event.text))
        except Exception:
            _log.exception("event %s failed", incoming.event_id)
            self.audience.tell(incoming.author.id, "", protocol.error(self.phrases.broken()))

    async def _answer(self, incoming: Incoming, reply_to: str) -> None:
        """The edge: whatever fails below becomes one sentence and one log line here."""
        channel = WebChannel(self.board, self.posts, self.audience, asker=incoming.author.id)
        try:
            async with aclosing(self.bot.respond(incoming)) as events:
                await self.outboxes.deliver(channel, CHAT, events, reply_to=reply_to, record=self.record)
            if incoming.text.startswith("/"):
                await self._show_settings(incoming.author.id)
        except Exception:
            _log.exception("event %s failed", incoming.event_id)
            sorry = Frame(failure=self.phrases.broken(), notice=True, private=True)
            await channel.send(sorry, reply_to=reply_to, nonce=secrets.token_hex(8))

    async def _show_settings(self, person: str) -> None:
        """A command may have changed them, and the panel may be open."""
        views = await self.panel.describe(person)
        self.audience.tell(person, "settings", protocol.settings(views))
