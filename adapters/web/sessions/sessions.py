"""One open socket from its hello to its end: reads what the page sends and does it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from adapters.delivery.channel import Frame
from adapters.web.channel import protocol
from adapters.web.channel.channel import CHAT
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.history import History, Section
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.files.uploads import MAX_PICTURE_BYTES, MAX_PICTURES, Upload, UploadLost, UploadRefused, Uploads
from adapters.web.posts.guests import BOT_NAME, Guests, rename
from adapters.web.posts.posts import Post, Posts
from adapters.web.repeated_faults import RepeatedFaults, patiently
from adapters.web.security.token_buckets import Budgets, TokenBuckets
from adapters.web.sessions.event_handler import PageEventHandler
from adapters.web.sessions.inbound import Crowded, Inbound, InboxFull
from bots import wording
from bots.access.gate import Call, Unheard, call_of
from bots.access.rights import Thing, Verb
from bots.commands.registry import is_stop, shown
from bots.messages import Action, Incoming, Person
from bots.ports import StorageError
from bots.profile.preferences import UserError as NotLetIn
from inference.api import ModelInfo

_log = logging.getLogger(__name__)

_REMEMBERED_EVENTS = 1000
_REMEMBERED_ASKING = 20
_STOPS_AT_ONCE = 10
"""Of one person; while the storage is away, they wait for it."""
_HANDS = 4
"""So many people are shown the channel, or earlier posts, at the same time: a crowd that comes at once lines up."""
_GREETED_WITHIN_S = 0.2
"""A slow connection takes no longer from those behind it."""
_FRAMES, _FRAMES_S = 100, 10.0
"""Of one person, pings and pongs included, read at once, and again in so many seconds; more stay in the network. A page
sends again what was not accepted, 50 messages at most."""
_UNPACKED_BYTES, _UNPACKED_S = 2 * 2**20, 8.0
"""Of one person's frames as they are once they are unpacked: 2 kB may have become 2 MB."""
_TOO_MUCH_WAITS = "Too many of your messages are waiting. Please send this one again when they are through."
_CROWDED_S = 5.0
"""What such a person sends next is read so much later. No longer: a socket that says nothing for 10 s is given up."""
_CROWDED = "Very many people are writing here right now. Please send this one again in a minute."
_TOO_MUCH_TEXT = "That's a lot of text in a short time. Please wait {:.0f} seconds."
_TOO_MANY_NAMES = "You've changed your name often. Please wait {:.0f} seconds."
_NOT_SAVED = "I couldn't save that just now. Please try again in a minute."
_GOODBYES = {WSCloseCode.OK, WSCloseCode.GOING_AWAY}


class Example(Protocol):
    """A prompt to begin with; `kind` says of which sort it is ("plain", "constrained", "one word")."""

    @property
    def kind(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """All that a socket can ask for."""

    answers: PageEventHandler
    audience: Subscribers
    board: ChannelLog
    history: History
    guests: Guests
    posts: Posts
    uploads: Uploads
    info: Callable[[], ModelInfo]
    examples: Sequence[Example]
    commands: Sequence[tuple[str, str]]
    grace_s: float
    inbound: Inbound
    budgets: Budgets = field(default_factory=Budgets)
    _hands: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _HANDS))
    _hands_for_regulars: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _HANDS))
    """Whoever has been here before today joins beside a crowd that has not."""
    _frames: TokenBuckets = field(default_factory=lambda: TokenBuckets(_FRAMES, _FRAMES_S))
    _unpacked: TokenBuckets = field(default_factory=lambda: TokenBuckets(_UNPACKED_BYTES, _UNPACKED_S))
    _kept: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """The newest messages that were accepted: which post each became."""
    _waiting: dict[str, list[Subscriber]] = field(default_factory=dict)
    """Those that are being stored, and who wants to know."""
    _stopping: Counter[str] = field(default_factory=Counter)
    """How many of each person's presses of Stop are being looked into."""
    _faults: RepeatedFaults = field(default_factory=lambda: RepeatedFaults(_log))

    async def receive(self, socket: web.WebSocketResponse, listener: Subscriber) -> None:
        """Serves one socket until it is closed. The edge: whatever fails below costs this socket alone."""
        try:
            await self._serve(socket, listener)
        except Exception as error:
            self._faults.say("a socket of the page is closed, which comes back by itself", error)
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"try again")

    async def _serve(self, socket: web.WebSocketResponse, listener: Subscriber) -> None:
        person = listener.person
        # Cookies can be collected before a crowd comes with them; answers of an earlier day cannot.
        listener.is_regular = listener.is_regular and await self.answers.bot.is_known(person)
        async with AsyncExitStack() as joining:
            await joining.enter_async_context(self._hands_for_regulars if listener.is_regular else self._hands)
            name = await self.guests.name_for(person)
            settings = await self.answers.panel.describe(person)
            self.audience.join(listener, name)
            try:
                newest = self.history.newest()
                listener.tell("hello", self._hello(person, name, newest))  # the first thing that it hears
                listener.has(newest.whole)
                listener.tell("settings", protocol.settings(settings))
                self.audience.hand_over(listener)
                async with asyncio.TaskGroup() as tasks:
                    pump = tasks.create_task(listener.pump(socket))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(listener.greeted.wait(), _GREETED_WITHIN_S)
                    await joining.aclose()
                    await self._read(socket, listener)
                    pump.cancel()
            finally:
                self.audience.leave(listener)
        if person not in self.audience and socket.close_code in _GOODBYES:
            self.answers.tasks.begin(self._gone(Person(person, name)))

    def _hello(self, person: str, name: str, newest: Section) -> str:
        return protocol.hello(
            newest.views,
            earlier=newest.earlier,
            person=person,
            name=name,
            bot=BOT_NAME,
            model=asdict(self.info()),
            examples=[{"kind": each.kind, "text": each.text} for each in self.examples],
            commands=[{"name": command, "summary": summary} for command, summary in self.commands],
            count=self.audience.count,
            limits={
                "message_bytes": protocol.MAX_MESSAGE_BYTES,
                "picture_bytes": MAX_PICTURE_BYTES,
                "pictures": MAX_PICTURES,
            },
        )

    async def _read(self, socket: web.WebSocketResponse, listener: Subscriber) -> None:
        async for message in socket:
            if wait_s := self._frames.take(listener.person):
                await asyncio.sleep(wait_s)
                self._frames.take(listener.person)
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await socket.pong(message.data)
            if message.type is not WSMsgType.TEXT:
                continue
            if wait_s := self._unpacked.take(listener.person, len(message.data)):
                await asyncio.sleep(wait_s)
                self._unpacked.take(listener.person, len(message.data))
            client_id = ""
            try:
                asked = protocol.parse(message.data)
                client_id = getattr(asked, "client_id", "")
                self._do(listener, asked, size=len(message.data))
            except protocol.BadMessage as error:
                listener.tell("", protocol.rejected(error.client_id, str(error)))
            except Crowded:
                listener.tell("", protocol.rejected(client_id, _CROWDED))
                await asyncio.sleep(_CROWDED_S)
            except InboxFull:
                listener.tell("", protocol.rejected(client_id, _TOO_MUCH_WAITS))
            except Exception as error:
                self._faults.say("a page's message failed", error)
                listener.tell("", protocol.rejected(client_id, self.answers.phrases.broken()))

    def _do(self, listener: Subscriber, asked: protocol.FromPage, size: int) -> None:
        """Raises Full: nothing of it is done."""
        person = listener.person
        match asked:
            case protocol.Typed():
                self._typed(listener, asked, size)
            case protocol.Pressed():
                self._pressed(listener, asked)
            case protocol.Changed():
                self.inbound.put(person, partial(self._changed, person, asked))
            case protocol.Renamed():
                self.inbound.put(person, partial(self._renamed, person, asked))
            case protocol.Dropped():
                self.inbound.put(person, partial(self._dropped, listener, asked))
            case protocol.Ping():  # whatever waits for the storage
                listener.tell("pong", protocol.pong())
            case protocol.Who():
                self._look(person, partial(self._people, listener))
            case protocol.Earlier():
                self._look(person, partial(self._earlier, listener, asked.before))
            case protocol.Whole():
                self._look(person, partial(self._whole, listener, asked.post))

    def _look(self, person: str, look: Callable[[], Awaitable[None]]) -> None:
        self.inbound.put(person, partial(self._looked, person, look), idles=True)

    async def _looked(self, person: str, look: Callable[[], Awaitable[None]]) -> None:
        """Whoever looks too often waits, and what they send after that with it; nobody else does."""
        await asyncio.sleep(self.budgets.reads.wait_s(person))
        self.budgets.reads.take(person)
        async with self._hands:
            await look()

    async def _people(self, listener: Subscriber) -> None:
        listener.tell("people", self.audience.people())

    async def _earlier(self, listener: Subscriber, before: int) -> None:
        try:
            section = await self.history.before(before)
        except StorageError as error:  # the page asks again when somebody scrolls
            self._faults.say("earlier posts of the page are not shown", error)
            section = Section((), earlier=True)
        listener.tell("earlier", protocol.earlier(section.views, section.earlier))

    async def _whole(self, listener: Subscriber, post_id: str) -> None:
        drawn = await self.history.whole(post_id)
        listener.tell("", protocol.remove(post_id) if drawn is None else drawn.whole())

    def _typed(self, listener: Subscriber, typed: protocol.Typed, size: int) -> None:
        """Posts the message once, however often it is sent. Each time it is answered when it is settled."""
        event_id = f"{listener.person}/{typed.client_id}"
        if not typed.text.strip() and not typed.pictures:
            listener.tell("", protocol.rejected(typed.client_id, "There is nothing in this message yet."))
        elif kept := self._kept.get(event_id):
            listener.tell("", protocol.accepted(typed.client_id, kept))
        elif event_id not in self._waiting:
            if wait_s := self.budgets.post(listener.person, listener.address, size):
                listener.tell("", protocol.rejected(typed.client_id, _TOO_MUCH_TEXT.format(wait_s)))
                return
            keep = partial(self._keep, listener.person, event_id, typed)
            # Whoever has an answer growing frees a place by it: that waits for no place.
            asks = not (is_stop(typed.text) and self.board.growing(listener.person))
            self.inbound.put(listener.person, keep, size, asks=asks, is_regular=listener.is_regular)
            self._waiting[event_id] = [listener]
        elif len(self._waiting[event_id]) < _REMEMBERED_ASKING:
            self._waiting[event_id].append(listener)

    async def _keep(self, person: str, event_id: str, typed: protocol.Typed) -> None:
        """The edge: the message is accepted when it is kept, refused with a sentence, or waits for the storage."""
        post, said = None, ""
        try:
            post, uploads = await self._posted(person, event_id, typed)
            await self.answers.to_post(post, uploads, typed.text)
            self._remember(event_id, post.id)
            said = protocol.accepted(typed.client_id, post.id)
        except (UploadRefused, NotLetIn, Unheard) as error:
            said = protocol.rejected(typed.client_id, str(error), lost=isinstance(error, UploadLost))
        except Exception as error:
            self._faults.say("a message of the page failed", error)
            said = protocol.rejected(typed.client_id, self.answers.phrases.broken())
            if post is not None:  # everybody can read it, so it must not be sent again
                said = protocol.error(self.answers.phrases.broken(), typed.client_id)
        finally:
            asking = self._waiting.pop(event_id)
        for listener in asking:
            listener.tell("", said)

    async def _posted(self, person: str, event_id: str, typed: protocol.Typed) -> tuple[Post, Sequence[Upload]]:
        """The message's post, which an earlier attempt or process may have made, and its pictures.

        Raises:
            Refused: a picture is not there.
            NotLetIn, Unheard: the gate refuses it, and nothing is shown of it.
        """
        later = "a message of the page is stored later"
        post = await patiently(partial(self.posts.with_event, event_id), later, self._faults)
        if post is not None:
            return post, ()
        self.uploads.found(person, typed.pictures)  # what the page repeats by itself does not count twice
        author = Person(person, self.audience.name_of(person))
        asked = Incoming(event_id=event_id, chat=CHAT, author=author, text=typed.text, new=True)
        await self.answers.bot.enter(call_of(asked, files=bool(typed.pictures), posted=True))
        uploads = self.uploads.take(person, typed.pictures)
        put_up = partial(self._put_up, person, event_id, typed.text, uploads)
        return await patiently(put_up, later, self._faults), uploads

    def _remember(self, event_id: str, post_id: str) -> None:
        self._kept[event_id] = post_id
        if len(self._kept) > _REMEMBERED_EVENTS:
            self._kept.popitem(last=False)

    async def _named(self, person: str) -> str:
        """The person's name, which is stored from now on. Raises StorageError."""
        name = self.audience.name_of(person) or await self.guests.name_for(person)
        kept = await self.guests.keep(person, name)
        if kept != name:
            self.audience.rename(person, kept)
        return kept

    async def _put_up(self, person: str, event_id: str, text: str, uploads: Sequence[Upload]) -> Post:
        name = await self._named(person)
        for preview in (each.preview for each in uploads):
            if preview is not None:
                await self.posts.put_file(preview)
        return await self.board.add(
            kind="person",
            author=person,
            name=name,
            frame=Frame(markdown=shown(text)),
            event_id=event_id,
            attachments=tuple(each.attachment for each in uploads),
        )

    def _pressed(self, listener: Subscriber, pressed: protocol.Pressed) -> None:
        person = listener.person
        event_id = f"{person}/{pressed.client_id}"
        if pressed.client_id and event_id in self._kept:
            return
        press = partial(self._press, listener, pressed)
        if pressed.action is Action.STOP:  # waits for nothing that the person sent before
            if self._stopping[person] < _STOPS_AT_ONCE:
                self._stopping[person] += 1
                self.answers.tasks.begin(self._stop(person, press))
        else:
            asks = pressed.action in (Action.REGENERATE, Action.CONTINUE)
            self.inbound.put(person, press, asks=asks, is_regular=listener.is_regular)
        if pressed.client_id:
            self._remember(event_id, pressed.message_id)

    async def _stop(self, person: str, press: Callable[[], Awaitable[None]]) -> None:
        try:
            await press()
        finally:
            self._stopping[person] -= 1
            if not self._stopping[person]:
                del self._stopping[person]

    async def _press(self, listener: Subscriber, pressed: protocol.Pressed) -> None:
        """Does what the button says, if the post has that button."""
        find = partial(self.board.post, pressed.message_id)
        post = await patiently(find, "a button of the page is looked up later", self._faults)
        if post is None or post.kind != "bot" or pressed.action not in post.frame.actions:
            if pressed.action is not Action.STOP:  # what is to be stopped is over
                listener.tell("", protocol.error(wording.button_is_old(), pressed.client_id))
            return
        person = listener.person
        await self.answers.to_press(Person(person, self.audience.name_of(person)), pressed)

    async def _let_in(self, person: str, thing: Thing, verb: Verb) -> None:
        """Raises NotLetIn, Unheard or StorageError."""
        await self.answers.bot.enter(Call(actor=person, thing=thing, verb=verb, chat=CHAT))

    async def uploads_of(self, person: str) -> None:
        """Let the person upload something. Raises NotLetIn, Unheard or StorageError."""
        await self._let_in(person, Thing.UPLOAD, Verb.ADD)

    async def _dropped(self, listener: Subscriber, dropped: protocol.Dropped) -> None:
        try:
            await self._let_in(listener.person, Thing.UPLOAD, Verb.REMOVE)
        except (NotLetIn, Unheard) as refusal:
            listener.tell("", protocol.error(str(refusal)))
        else:
            self.uploads.drop(listener.person, dropped.picture)

    async def _changed(self, person: str, changed: protocol.Changed) -> None:
        refused = False

        async def keep() -> str:
            await self._named(person)
            return await self.answers.panel.change(person, changed.name, changed.value) or ""

        try:
            await self._let_in(person, Thing.SETTINGS, Verb.CHANGE)
            sentence = await patiently(keep, "a setting of the page is stored later", self._faults)
        except (ValueError, NotLetIn, Unheard) as error:
            sentence, refused = str(error), True
        except Exception as error:
            self._unsaved(person, changed.client_id, error)
            return
        views = await self.answers.panel.describe(person)
        self.audience.tell(person, "settings", protocol.settings(views, sentence, changed.name, refused))

    async def _renamed(self, person: str, renamed: protocol.Renamed) -> None:
        try:
            await self._let_in(person, Thing.NAME, Verb.CHANGE)
            if wait_s := self.budgets.names.take(person):
                raise ValueError(_TOO_MANY_NAMES.format(wait_s))
            keep = partial(rename, self.posts, person, renamed.name)
            name = await patiently(keep, "a name of the page is stored later", self._faults)
        except (ValueError, NotLetIn, Unheard) as error:
            self.audience.tell(person, "", protocol.error(str(error), renamed.client_id))
        except Exception as error:
            self._unsaved(person, renamed.client_id, error)
        else:
            self.audience.rename(person, name)
            return
        self.audience.tell(person, "name", protocol.name(self.audience.name_of(person)))

    def _unsaved(self, person: str, client_id: str, error: Exception) -> None:
        self._faults.say("a setting of the page was not saved", error)
        self.audience.tell(person, "", protocol.error(_NOT_SAVED, client_id))

    async def _gone(self, person: Person) -> None:
        """Stops what is written for somebody who closed the page and does not come back."""
        await asyncio.sleep(self.grace_s)
        if person.id not in self.audience:
            await self.answers.stop_all_of(person)
