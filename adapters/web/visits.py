"""One open socket from its hello to its end: reads what the page sends and does it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from adapters.delivery.channel import Frame
from adapters.web import protocol
from adapters.web.answers import Answers
from adapters.web.audience import Audience, Listener
from adapters.web.board import Board
from adapters.web.people import BOT_NAME, name_for, rename
from adapters.web.posts import Post, Posts
from adapters.web.uploads import MAX_PICTURE_BYTES, MAX_PICTURES, Refused, Upload, Uploads
from bots.messages import Person
from inference.api import ModelInfo

_log = logging.getLogger(__name__)

_REMEMBERED_EVENTS = 1000
_GOODBYES = {WSCloseCode.OK, WSCloseCode.GOING_AWAY}


class Example(Protocol):
    """A prompt to begin with; `kind` says of which sort it is ("plain", "constrained", "one word")."""

    @property
    def kind(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Visits:
    """All that a socket can ask for."""

    answers: Answers
    audience: Audience
    board: Board
    posts: Posts
    uploads: Uploads
    info: ModelInfo
    examples: Sequence[Example]
    commands: Sequence[tuple[str, str]]
    grace_s: float
    _events: OrderedDict[str, None] = field(default_factory=OrderedDict)

    async def receive(self, socket: web.WebSocketResponse, person: str) -> None:
        """Serves one socket until it is closed."""
        listener = Listener(person)
        name = await name_for(self.posts, person)
        settings = await self.answers.panel.describe(person)
        self.audience.join(listener, name)
        try:
            listener.tell("hello", self._hello(person, name))
            listener.tell("settings", protocol.settings(settings))
            self.audience.hand_over(listener)
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(listener.pump(socket))
                await self._read(socket, listener)
                pump.cancel()
        finally:
            self.audience.leave(listener)
        if person not in self.audience and socket.close_code in _GOODBYES:
            self.answers.tasks.begin(self._gone(Person(person, name)))

    def _hello(self, person: str, name: str) -> str:
        return protocol.hello(
            self.board.views(),
            person=person,
            name=name,
            bot=BOT_NAME,
            model=asdict(self.info),
            examples=[{"kind": each.kind, "text": each.text} for each in self.examples],
            commands=[{"name": command, "summary": summary} for command, summary in self.commands],
            people=self.audience.people(),
            limits={
                "message_bytes": protocol.MAX_MESSAGE_BYTES,
                "picture_bytes": MAX_PICTURE_BYTES,
                "pictures": MAX_PICTURES,
            },
        )

    async def _read(self, socket: web.WebSocketResponse, listener: Listener) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                await self._do(listener, protocol.parse(message.data))
            except protocol.BadMessage as error:
                listener.tell("", protocol.rejected(error.client_id, str(error)))
            except Exception:
                _log.exception("a page's message failed")
                listener.tell("", protocol.error("That did not work just now; please try again."))

    async def _do(self, listener: Listener, asked: protocol.FromPage) -> None:
        match asked:
            case protocol.Typed():
                await self._typed(listener, asked)
            case protocol.Pressed():
                await self._pressed(listener.person, asked)
            case protocol.Changed():
                await self._changed(listener.person, asked)
            case protocol.Renamed():
                await self._renamed(listener, asked)
            case protocol.Dropped():
                self.uploads.drop(listener.person, asked.picture)

    async def _typed(self, listener: Listener, typed: protocol.Typed) -> None:
        """Posts the message once, however often it is sent, and begins the answer."""
        event_id = f"{listener.person}/{typed.client_id}"
        if not typed.text.strip() and not typed.pictures:
            listener.tell("", protocol.rejected(typed.client_id, "There is nothing in this message yet."))
            return
        post = await self.posts.with_event(event_id)
        if self._first_time(event_id):
            try:
                post = await self._take_on(listener.person, event_id, typed, post)
            except Refused as error:
                self._events.pop(event_id)
                listener.tell("", protocol.rejected(typed.client_id, str(error)))
                return
            except Exception:
                self._events.pop(event_id)  # it will be sent again
                raise
        listener.tell("", protocol.accepted(typed.client_id, post.id if post else ""))

    async def _take_on(self, person: str, event_id: str, typed: protocol.Typed, post: Post | None) -> Post:
        """Posts the message, unless an earlier process died just after it had, and begins the answer.

        Raises:
            Refused: a picture is not there.
        """
        uploads: Sequence[Upload] = ()
        if post is None:
            uploads = self.uploads.take(person, typed.pictures)
            post = await self._put_up(person, event_id, typed.text, uploads)
        await self.answers.to_post(post, uploads)
        return post

    async def _put_up(self, person: str, event_id: str, text: str, uploads: Sequence[Upload]) -> Post:
        for preview in (each.preview for each in uploads):
            if preview is not None:
                await self.posts.put_file(preview)
        return await self.board.add(
            kind="person",
            author=person,
            name=self.audience.name_of(person),
            frame=Frame(markdown=text),
            event_id=event_id,
            attachments=tuple(each.attachment for each in uploads),
        )

    async def _pressed(self, person: str, pressed: protocol.Pressed) -> None:
        if not pressed.client_id or self._first_time(f"{person}/{pressed.client_id}"):
            await self.answers.to_press(Person(person, self.audience.name_of(person)), pressed)

    async def _changed(self, person: str, changed: protocol.Changed) -> None:
        refused = False
        try:
            sentence = await self.answers.panel.change(person, changed.name, changed.value) or ""
        except ValueError as error:
            sentence, refused = str(error), True
        views = await self.answers.panel.describe(person)
        self.audience.tell(person, "settings", protocol.settings(views, sentence, changed.name, refused))

    async def _renamed(self, listener: Listener, renamed: protocol.Renamed) -> None:
        try:
            name = await rename(self.posts, listener.person, renamed.name)
        except ValueError as error:
            listener.tell("", protocol.error(str(error)))
            listener.tell("name", protocol.name(self.audience.name_of(listener.person)))
            return
        self.audience.rename(listener.person, name)

    def _first_time(self, event_id: str) -> bool:
        if event_id in self._events:
            return False
        self._events[event_id] = None
        if len(self._events) > _REMEMBERED_EVENTS:
            self._events.popitem(last=False)
        return True

    async def _gone(self, person: Person) -> None:
        """Stops what is written for somebody who closed the page and does not come back."""
        await asyncio.sleep(self.grace_s)
        if person.id not in self.audience:
            await self.answers.stop_all_of(person)
