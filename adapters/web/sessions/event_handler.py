"""From what a person did on the page to the bot's answer on the board."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

from adapters.delivery.channel import Frame
from adapters.delivery.phrases import Phrases
from adapters.delivery.ports import DeliveryPort, Responder
from adapters.web.background_tasks import BackgroundTasks
from adapters.web.channel import protocol
from adapters.web.channel.channel import CHAT, WebChannel
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.protocol import Pressed
from adapters.web.channel.setting_views import SettingsPanel
from adapters.web.channel.subscribers import Subscribers
from adapters.web.files.uploads import Upload
from adapters.web.posts.posts import Post, Posts
from adapters.web.repeated_faults import RepeatedFaults, patiently
from adapters.web.sessions.events import ACCOUNT, PageEvent
from bots.commands.registry import asks
from bots.conversation.coming import Sent
from bots.conversation.ledger import LOOK_EVERY_S, left_behind
from bots.messages import Action, Incoming, Notice, Permit, Person, Picture
from bots.ports import Deliveries, Inbox, Received, StorageError
from inference.api import Interrupted

_log = logging.getLogger(__name__)

_GUESTS = "guests of the page"
"""Who take turns as one: accounts of theirs cost nothing to make."""


@dataclass(frozen=True, kw_only=True)
class PageEventHandler:
    """Answers run in `tasks`, one for every event, until they are delivered or the page is shut down."""

    bot: Responder
    outboxes: DeliveryPort
    record: Deliveries
    inbox: Inbox
    phrases: Phrases
    panel: SettingsPanel
    board: ChannelLog
    posts: Posts
    audience: Subscribers
    tasks: BackgroundTasks
    faults: RepeatedFaults = field(default_factory=lambda: RepeatedFaults(_log))
    in_hand: set[str] = field(default_factory=set)
    """The ids of the events that are being answered."""
    freed: Callable[[], None] = lambda: None
    """Called when there are fewer of them."""

    async def to_post(self, post: Post, uploads: Sequence[Upload], text: str) -> None:
        """The bot answers what a person wrote. When this returns, it will do so whatever happens to the process.

        Args:
            text: as it was written; everybody reads the post, which leaves out what is between the person and the bot.
        """
        await self._take_on(PageEvent.of_post(post, text), [upload.picture for upload in uploads] or None)

    async def to_press(self, person: Person, pressed: Pressed) -> None:
        """The bot does what a button says."""
        event = PageEvent.of_press(person, pressed, f"{person.id}/{pressed.client_id or secrets.token_hex(8)}")
        if pressed.action is Action.STOP:
            self.tasks.begin(self._quietly(event.incoming([], new=True)))
        else:
            await self._take_on(event, None)

    async def stop_all_of(self, person: Person) -> None:
        """Nobody is there any more to read what is being written for this person: it is no call of theirs."""
        for post in self.board.growing(person.id):
            event = PageEvent.of_press(
                person,
                Pressed(client_id="", action=Action.STOP, message_id=post.id),
                f"{person.id}/{secrets.token_hex(8)}",
            )
            self.tasks.begin(self._quietly(replace(event.incoming([], new=True), decision=Permit(person.id))))

    async def recover(self) -> None:
        """Goes on where an earlier process was killed, and from then on where another one is."""
        batches = left_behind(self.inbox, ACCOUNT)
        left = await anext(batches)
        if not await self._has_closed_interrupted():
            self.tasks.begin(self._close_interrupted_later())
        self._go_on(left)
        self.tasks.begin(self._take_over(batches))

    async def _take_over(self, batches: AsyncGenerator[Sequence[Received], None]) -> None:
        async with aclosing(batches):
            async for left in batches:
                self._go_on(left)

    def _go_on(self, left: Sequence[Received]) -> None:
        for event in self._readable(left):
            self._begin(event, None, new=False)

    def _readable(self, left: Sequence[Received]) -> Iterator[PageEvent]:
        for received in left:
            try:
                yield PageEvent.read(received)
            except (ValueError, LookupError, TypeError, AttributeError):
                _log.error("event %s cannot be read, and stays unanswered", received.id)

    async def _take_on(self, event: PageEvent, pictures: Sequence[Picture] | None) -> None:
        """Waits for as long as the storage is away."""
        attempts = count()

        async def receive() -> tuple[Sequence[Received], bool]:
            again = next(attempts) > 0
            return await self.inbox.receive([event.received(time.time())]), again

        new, again = await patiently(receive, f"event {event.id} is stored later", self.faults)
        if new:
            self._begin(event, pictures, new=True)
        elif again:  # an attempt that seemed to fail may have stored it; the ledger knows whether it is answered
            self._begin(event, pictures, new=False)

    def _begin(self, event: PageEvent, pictures: Sequence[Picture] | None, *, new: bool) -> None:
        """Answers the event, unless that is being done already."""
        if event.id not in self.in_hand:
            self.in_hand.add(event.id)
            at, is_asked = event.received_at or time.time(), asks(event.text)
            sent = self.bot.coming.add(event.id, CHAT, event.person, at, asks=lambda: is_asked, late=not new)
            self.tasks.begin(self._answer(event, pictures, sent, new=new))

    async def _close_interrupted_later(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await self._has_closed_interrupted():
                return

    async def _has_closed_interrupted(self) -> bool:
        """Whether they could be found. The page is served all the same: others have nothing to do with them."""
        try:
            await self._look_for_interrupted()
        except Exception as error:
            self.faults.say("answers that were left unfinished are looked for again", error)
            return False
        return True

    async def _look_for_interrupted(self) -> None:
        """Marks the answers that were left unfinished and that no process goes on with, in the same posts."""
        pending = await self.inbox.pending(ACCOUNT)
        going_on = {event.under for event in self._readable(pending)}
        await self.board.catch_up()  # what was finished before it was looked up who is at work
        for post in self.board.growing():
            if post.reply_to in going_on:
                continue
            frame = Frame(
                markdown=post.frame.markdown,
                thinking=post.frame.thinking,
                failure=self.phrases.interrupted(),
                actions=(Action.REGENERATE, Action.CONTINUE),
            )
            await self.board.change(post.id, frame)

    async def _quietly(self, incoming: Incoming) -> None:
        """The stopped answer shows by itself what the bot says to a pressed Stop; only a screen reader is told."""
        try:
            async with aclosing(self.bot.respond(incoming)) as events:
                async for event in events:
                    if isinstance(event, Notice):
                        self.audience.tell(incoming.author.id, "", protocol.said(event.text))
                        await self._shown(event.id)
        except Interrupted:
            return  # the same press once more
        except Exception:
            _log.exception("event %s failed", incoming.event_id)
            self.audience.tell(incoming.author.id, "", protocol.error(self.phrases.broken()))

    async def _shown(self, answer_id: str) -> None:
        """A notice that no delivery takes to its end."""
        if answer_id:
            record = partial(self.record.record_shown, CHAT, answer_id)
            await patiently(record, "a notice is marked as shown later", self.faults)

    async def _answer(self, event: PageEvent, pictures: Sequence[Picture] | None, sent: Sent, *, new: bool) -> None:
        """The edge: whatever fails below becomes one sentence and one log line here."""
        try:
            await self._deliver(event, pictures, new=new)
        except Exception:
            _log.exception("event %s failed", event.id)
            sorry = Frame(failure=self.phrases.broken(), notice=True, private=True)
            await self._channel(event).send(sorry, reply_to=event.under, nonce=f"{event.id}/broken")
            await self._answered(event)
        finally:
            self.in_hand.discard(event.id)
            self.bot.coming.remove(sent)
            self.freed()

    async def _deliver(self, event: PageEvent, pictures: Sequence[Picture] | None, *, new: bool) -> None:
        if pictures is None:
            pictures = [Picture(await self._preview(file_id), name) for file_id, name in event.pictures]
        async with aclosing(self.bot.respond(event.incoming(pictures, new=new))) as events:
            outcome = await self.outboxes.deliver(
                self._channel(event),
                CHAT,
                events,
                reply_to=event.under,
                record=self.record,
                asker=event.person,
                party="" if self.audience.is_regular(event.person) else _GUESTS,
            )
        if not outcome.is_settled:
            _log.info("event %s is left for the next start: %s", event.id, outcome.reason)
            return
        await self._answered(event)
        if event.text.startswith("/"):
            await self._show_settings(event.person)

    def _channel(self, event: PageEvent) -> WebChannel:
        return WebChannel(self.board, self.posts, self.audience, asker=event.person)

    async def _answered(self, event: PageEvent) -> None:
        """Only once the last state of its posts is kept, which may take as long as the storage is away."""

        async def settle() -> None:
            await self.board.flush(event.person)
            await self.inbox.answered(ACCOUNT, event.inbox_id)

        await patiently(settle, f"event {event.id} is marked as answered later", self.faults)

    async def _preview(self, file_id: str) -> bytes:
        """After a restart the small picture serves: the captioner looks at no more of it anyway."""
        if not file_id:
            return b""
        stored = await patiently(partial(self.posts.file, file_id), "a picture is read later", self.faults)
        return stored.data if stored else b""

    async def _show_settings(self, person: str) -> None:
        """A command may have changed them, and the panel may be open."""
        try:
            views = await self.panel.describe(person)
        except StorageError as error:  # the answer is there all the same
            self.faults.say("the settings panel is not brought up to date", error)
            return
        self.audience.tell(person, "settings", protocol.settings(views))
