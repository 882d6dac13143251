"""From a recorded event to its answer on Discord, once."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.delivery.channel import ChannelError
from adapters.delivery.in_hand import InHand
from adapters.delivery.outcome import Ending, Outcome
from adapters.delivery.ports import DeliveryPort
from adapters.delivery.recording import RecordedIn
from adapters.discord.client.rest import RestClient, RestError
from adapters.discord.inbound.attachments import Contents, Fetch, read
from adapters.discord.inbound.events import PLATFORM, DiscordEvent, bursts, created_at, event_of, together
from adapters.discord.inbound.interaction_tokens import InteractionTokens, events_of
from adapters.discord.outbound.channel import UPLOAD_BYTES, DiscordChannel, Echoes, limits
from adapters.discord.outbound.interaction_channel import LIFETIME_S, MOST_MESSAGES, InteractionChannel
from bots import wording
from bots.bot import Bot
from bots.commands.registry import asks, is_stop
from bots.commands.registry import read as parsed
from bots.conversation.ledger import answer_id, left_behind
from bots.messages import Action, Ended, Failed, Incoming, Notice, Permit, ReplyEvent, Started
from bots.ports import Received, Storage, StorageError
from inference.api import Interrupted

log = logging.getLogger(__name__)

_STALE_S = 86_400.0
"""What was left unanswered for longer is not answered out of the blue."""
_HAS_A_THREAD = 160004
_REMEMBERED = 10_000
_CLOSING_S = 60.0
"""So long before its token is over an answer is stopped that needs the token: for the last frame, and its files."""


@dataclass(kw_only=True)
class DiscordEventHandler:
    """Records what came in and answers it, each event in a task of its own.

    Args:
        api: the address of the REST API, from whose host files may be fetched.
        fetch: the bytes at an address; raises OSError.
        begin: runs a coroutine until the platform closes.
        now: seconds since the epoch.
        ping_after_s: an answer that took longer is followed by a mention of the asker; 0 for never.
    """

    bot: Bot
    outboxes: DeliveryPort
    storage: Storage
    calls: RestClient
    api: str
    fetch: Fetch
    begin: Callable[[Coroutine[Any, Any, None]], object]
    now: Callable[[], float]
    ping_after_s: float = 0.0
    account: str = ""
    echoes: Echoes = field(default_factory=Echoes)
    busy: int = 0
    """How many events are being answered."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """None is."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is begun any more but what stops an answer."""
    _writing: dict[str, DiscordEvent] = field(default_factory=dict)
    """By the id of a message that is being written: what it answers."""

    _in_hand: InHand = field(default_factory=InHand)
    _left: set[str] = field(default_factory=set)
    """Those that a process has left which died."""
    _withdrawn: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """The ids of messages that people have deleted or edited lately, some before they were answered."""
    _deleted_here: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """The ids of messages that this process has deleted lately."""
    _together: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """By the id of a message that was lately answered together with later ones: the last of those."""
    tokens: InteractionTokens = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = InteractionTokens(self.storage, self.now)
        self.idle.set()

    async def record(self, event: DiscordEvent) -> bool:
        """Keeps the event, to be answered by this process; False for one that was here before."""
        if event.id in self._in_hand:
            return False
        with self._in_hand.recording([event.id]):
            rows = self.tokens.apart(event, event.received(self.account, self.now()))
            is_mine = bool(events_of(await self.storage.receive(rows))) and self._in_hand.take(event.id)
        if is_mine:
            self._note(event)
        return is_mine

    def _note(self, event: DiscordEvent) -> None:
        """From now on a stop that was sent later takes it back, if it asks for something."""
        asked_in = f"{PLATFORM}:{event.above if event.opens else event.channel}"
        is_asked = asks(event.text)
        sent_at = created_at(event.id)
        self.bot.coming.add(event.id, asked_in, event.person.id, sent_at, asks=lambda: is_asked, late=True)

    def _is_taken_back(self, event: DiscordEvent) -> bool:
        sent = self.bot.coming.find(event.id, event.chat)
        return sent is not None and sent.is_taken_back

    def answer(self, events: Sequence[DiscordEvent]) -> None:
        """Begins the answer to what one person has written, in one message or in several back to back."""
        over = [event for event in events if self._is_taken_back(event)]
        rest = [event for event in events if event not in over]
        for event in (together(each) for each in (over, rest) if each):
            if not self.stopping.is_set() or is_stop(event.text):
                self.begin(self._handle(event))

    def apologise(self, event: DiscordEvent) -> None:
        """Begins to say that the event could not be kept, and is not going to be answered."""
        self.begin(self._apologise(event))

    async def recover(self) -> None:
        """Answers what processes that died have recorded and left, until it is cancelled."""
        async with aclosing(left_behind(self.storage, self.account)) as batches:
            async for batch in batches:
                for burst in bursts(await self._taken(batch)):
                    self.answer(burst)

    async def _taken(self, batch: Sequence[Received]) -> list[DiscordEvent]:
        """Those of the batch that this process answers from now on."""
        found = {received.id: received for received in batch}
        others = {each.id for each in events_of(batch) if not await self._in_hand.take_found(each.id)}
        for event_id in others:
            del found[event_id]
        left = events_of(list(found.values()))
        try:
            await self.tokens.recover(found, others)
            events = [await self._taken_up(received, found) for received in left]
        except BaseException:
            for received in left:
                self._in_hand.give_back(received.id)
            raise
        return [event for event in events if event is not None]

    async def _taken_up(self, received: Received, found: Mapping[str, Received]) -> DiscordEvent | None:
        """The event, which is this process's from now on; None where it is not answered any more."""
        event = _rebuilt(received)
        if event is not None and self.now() - received.received_at > _STALE_S:
            self.begin(self._close(event))
            return None
        if event is None:
            try:
                await self.storage.answered(self.account, received.id)
            except StorageError as error:
                log.warning("event %s is looked at again after the next start: %s", received.id, error)
            self._in_hand.done(received.id)
            return None
        self._left.add(received.id)
        self._note(event)
        return self.tokens.joined(event, found)

    async def _close(self, event: DiscordEvent) -> None:
        """What is shown of a reply that was left for too long gets its end."""
        incoming = Incoming(event_id=event.id, chat=event.chat, author=event.person)
        try:
            outcome = await self._deliver(event, self.bot.close(incoming))
            if outcome.is_settled:
                await self.storage.answered(self.account, event.id)
        finally:
            self._in_hand.done(event.id)

    async def gone(self, channel: str, *message_ids: str) -> None:
        """Messages were deleted: nobody waits for what is written there, or in answer to them, and nobody is told it.

        A message that this process has deleted itself takes no words back.
        """
        for written, event in list(self._writing.items()):
            if not {written, event.question}.isdisjoint(message_ids):
                await self._stop(event, written)
        await self.edited(channel, *message_ids)

    async def edited(self, channel: str, *message_ids: str) -> None:
        """What stood in these messages is not there any more, so others get nothing of it."""
        by_people = [each for each in message_ids if each not in self._deleted_here]
        for message_id in by_people:
            _remember(self._withdrawn, message_id)
        await self._hide(channel, by_people)

    def _is_withdrawn(self, event: DiscordEvent) -> bool:
        return any(each in self._withdrawn for each in (*event.also, event.id))

    async def _hide(self, channel: str, message_ids: Collection[str]) -> None:
        """Those of a burst have one answer, and a thread that was opened for an answer has the id of its question."""
        asked = {self._together.get(each, each) for each in message_ids}
        if not asked:
            return
        try:
            chats = [f"{PLATFORM}:{each}" for each in sorted({channel, *asked})]
            await self.storage.hide(chats, sorted({*asked, *message_ids}))
        except StorageError as error:
            log.warning("channel %s: what was deleted there is not hidden from others: %s", channel, error)

    async def _handle(self, event: DiscordEvent) -> None:
        """The edge: what fails below becomes a sentence and a log line here. A cancelled event stays unanswered."""
        self.busy += 1
        self.idle.clear()
        for each in event.also:
            _remember(self._together, each, event.id)
        try:
            try:
                outcome = await self._answer(event)
            except Exception:
                log.exception("event %s failed", event.id)
                outcome = await self._deliver(event, self._broken(event))
            if self._is_withdrawn(event):  # perhaps before there was anything to hide
                await self._hide(event.channel, (*event.also, event.id))
            if not outcome.is_settled:
                log.info("event %s is left for the next start: %s", event.id, outcome.reason)
                return
            for event_id in (*event.also, event.id):
                await self.storage.answered(self.account, event_id)
            await self.tokens.forget(event.id)
        finally:
            for event_id in (*event.also, event.id):
                self._in_hand.done(event_id)
                self._left.discard(event_id)
                if (sent := self.bot.coming.find(event_id, event.chat)) is not None:
                    self.bot.coming.remove(sent)
            self.busy -= 1
            if not self.busy:
                self.idle.set()

    async def _apologise(self, event: DiscordEvent) -> None:
        event = await self._in_its_thread(event)
        await self._deliver(event, self._broken(event))

    async def _answer(self, event: DiscordEvent) -> Outcome:
        new = self._left.isdisjoint((*event.also, event.id))
        incoming = event.incoming(new=new)
        if new and self._is_taken_back(event):
            return await self._deliver(_where_it_was_asked(event), self.bot.respond(incoming))
        if incoming.decision is None and (event.files or event.opens):
            incoming = await self.bot.admit(incoming, files=bool(event.files))
        is_let_in = isinstance(incoming.decision, Permit)
        event = await self._in_its_thread(event) if is_let_in else _where_it_was_asked(event)
        incoming = replace(incoming, chat=event.chat, hidden=incoming.hidden or self._is_withdrawn(event))
        contents = Contents()
        if event.files and is_let_in:
            contents = await read(event.files, self.api, self.fetch)
            text = "\n\n".join(part for part in (event.text, contents.text) if part)
            incoming = replace(incoming, text=text, pictures=contents.pictures)
        began = self.now()
        outcome = await self._deliver(event, self._events(event, incoming, contents))
        is_delivered = outcome.ending is Ending.DELIVERED
        if is_delivered and self.ping_after_s and self.now() - began > self.ping_after_s:
            await self._ping(event)
        return outcome

    async def _deliver(self, event: DiscordEvent, events: AsyncGenerator[ReplyEvent, None]) -> Outcome:
        alone = event.token is not None or not event.guild
        most = MOST_MESSAGES if event.token and event.token.borrowed else 0
        bound = limits(self.account, event.upload_bytes or UPLOAD_BYTES, private_files=alone, most_messages=most)
        sent: set[str] = set()

        def told(message_id: str) -> None:
            sent.add(message_id)
            self._writing[message_id] = event

        def taken_back(message_id: str) -> None:
            _remember(self._deleted_here, message_id)
            self._writing.pop(message_id, None)

        parts = self.calls, event.channel, bound, self.echoes, told, taken_back
        channel = DiscordChannel(*parts)
        if event.token:
            channel = InteractionChannel(*parts, token=event.token)
            events = _telling(channel, self._in_time(channel, event, events, sent))
        # What only the asker sees goes by the interaction's own limits and waits for nothing that others wait for.
        private = event.token is not None and event.token.deferred == "private"
        chat = f"{event.chat}/{event.id}" if private else event.chat
        try:
            record = RecordedIn(self.storage, event.chat)
            outcome = await self.outboxes.deliver(
                channel, chat, events, reply_to=event.question, record=record, asker=event.person.id
            )
        finally:
            for message_id in sent:
                self._writing.pop(message_id, None)
        if isinstance(channel, InteractionChannel) and outcome.is_settled:
            try:
                await channel.close()
            except ChannelError as error:
                log.info("event %s: the acknowledgement stays: %s", event.id, error)
        return outcome

    async def _events(
        self, event: DiscordEvent, incoming: Incoming, contents: Contents
    ) -> AsyncGenerator[ReplyEvent, None]:
        for number, problem in enumerate(contents.problems):
            name = answer_id(event.chat, f"{event.id}/problem {number}")
            yield Notice(problem, private=True, refused=True, id=name, again=not incoming.new)
        if contents.problems and not incoming.pictures and not contents.text and not _says_something(event.text):
            return
        silent = incoming.text == Action.STOP.command and event.token is not None and event.token.deferred == "pressed"
        async with aclosing(self.bot.respond(incoming)) as events:
            async for reply in events:
                # The stopped answer shows by itself what the bot says to a pressed Stop.
                if not (silent and isinstance(reply, Notice) and not reply.refused):
                    yield reply

    async def _broken(self, event: DiscordEvent) -> AsyncGenerator[ReplyEvent, None]:
        """Under the name of its answer: if the event comes again after a restart, that goes into the same message."""
        yield Started(answer_id=answer_id(event.chat, event.id), again=event.id in self._left)
        yield Failed(wording.broken())

    async def _in_time(
        self,
        channel: InteractionChannel,
        event: DiscordEvent,
        events: AsyncGenerator[ReplyEvent, None],
        sent: Collection[str],
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Stops the answer before the token is over where nothing can be shown without it, and says why."""
        is_late = False

        def stop() -> None:
            nonlocal is_late
            if channel.needs_token:
                is_late = True
                self.begin(self._stop(event, next(iter(sent), None)))

        left_s = created_at(event.id) + LIFETIME_S - _CLOSING_S - self.now()
        timer = asyncio.get_running_loop().call_later(left_s, stop) if left_s > 0 else None
        try:
            async with aclosing(events):
                async for reply in events:
                    if is_late and isinstance(reply, Ended) and reply.reason == "cancelled":
                        reply = Failed(wording.out_of_time(Action.CONTINUE in reply.actions), reply.actions)
                    yield reply
        finally:
            if timer is not None:
                timer.cancel()

    async def _in_its_thread(self, event: DiscordEvent) -> DiscordEvent:
        """Opens the thread that the answer belongs into; without the permission it goes where the question is."""
        if not event.opens:
            return event
        try:
            await self.calls(
                "POST",
                "/channels/{channel_id}/messages/{message_id}/threads",
                channel_id=event.above,
                message_id=event.id,
                body={"name": event.opens},
            )
        except ChannelError as error:
            if not isinstance(error, RestError) or error.code != _HAS_A_THREAD:
                return _where_it_was_asked(event)
        return event

    async def _stop(self, event: DiscordEvent, message_id: str | None) -> None:
        """Stop an answer that nobody can see any more, whoever has deleted what: it is no call of a person's."""
        stop = Incoming(
            event_id=f"{message_id or event.id}-gone",
            chat=event.chat,
            author=event.person,
            text=Action.STOP.command,
            reply_to=message_id,
            decision=Permit(event.person.id),
        )
        with suppress(Interrupted):  # it is stopped already
            async with aclosing(self.bot.respond(stop)) as events:
                async for _ in events:
                    pass

    async def _ping(self, event: DiscordEvent) -> None:
        body = {
            "content": f"<@{event.author}> {wording.answer_is_done()}",
            "allowed_mentions": {"users": [event.author]},
        }
        try:
            await self.calls("POST", "/channels/{channel_id}/messages", channel_id=event.channel, body=body)
        except ChannelError as error:
            log.info("event %s: no ping: %s", event.id, error)


async def _telling(
    channel: InteractionChannel, events: AsyncGenerator[ReplyEvent, None]
) -> AsyncGenerator[ReplyEvent, None]:
    """Tells the channel of messages that the answer has from earlier."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Started) and event.message_ids:
                channel.goes_on(event.message_ids)
            yield event


def _remember(known: OrderedDict[str, str], message_id: str, value: str = "") -> None:
    known[message_id] = value
    if len(known) > _REMEMBERED:
        known.popitem(last=False)


def _says_something(text: str) -> bool:
    """Whether there are words beside the files, or beside the command for them."""
    called = parsed(text)
    return bool(called.argument if called else text.strip())


def _rebuilt(received: Received) -> DiscordEvent | None:
    try:
        return event_of(received)
    except (ValueError, KeyError, TypeError):
        log.warning("event %s was recorded by another version and is left out", received.id)
        return None


def _where_it_was_asked(event: DiscordEvent) -> DiscordEvent:
    """The event, to be answered under its message and not in a new thread."""
    return replace(event, channel=event.above, above="", question=event.id, opens="") if event.opens else event
