"""The way out of the adapter: a stream of reply events to one chat or topic, by the shared delivery."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from telegram import Bot as Api

from adapters.delivery.channel import Limits
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import Outcome
from adapters.delivery.recording import RecordedIn
from adapters.telegram.client.addresses import Destination
from adapters.telegram.outbound.channel import Sightings, TelegramChannel, limits
from adapters.telegram.outbound.drafts import DraftChannel, Switch
from adapters.telegram.updates.chat_migration import ChatMigration, ChatMigrations
from adapters.telegram.updates.files import FileRef, fetch
from bots.messages import ChatBudget, Notice, Picture, ReplyEvent
from bots.ports import Deliveries
from config.settings import TelegramSettings

_MINUTE_S = 60.0


class ReplySender:
    """Delivers to chats and topics of one bot. All topics of a group share its outbox, as they share its limit."""

    def __init__(
        self, api: Api, outboxes: Outboxes, record: Deliveries, moves: ChatMigrations, settings: TelegramSettings
    ) -> None:
        self.api = api
        self.sightings = Sightings()
        self._outboxes = outboxes
        self._record = record
        self._moves = moves
        self._settings = settings
        self._switch = Switch()

    def limits(self, destination: Destination) -> Limits:
        return limits(destination, self._settings.private_interval_s, self._settings.group_interval_s)

    def budget(self, destination: Destination) -> ChatBudget:
        """What the chat can be sent, all its topics together."""
        bound = self.limits(destination)

        def waits_for(person: str) -> bool:
            return self._outboxes.under_way(bound.account, destination.group, person) > 0

        return ChatBudget(destination.group, _MINUTE_S / bound.rate.interval_s, waits_for)

    async def fetched(self, file: FileRef) -> Picture:
        """Raises PictureLost."""
        return await fetch(self.api, file, self._settings.files_dir)

    def is_recorded_in(self, destination: Destination) -> Callable[[str], Awaitable[bool]]:
        """Tells of a message there whether it is known to be part of an answer, or to be the bot's own words."""

        async def is_recorded(message_id: str) -> bool:
            return await self._record.answer_at(destination.chat, message_id) is not None

        return is_recorded

    def channel(self, destination: Destination, asked: str | None = None) -> TelegramChannel:
        """`asked`: the message that is answered through it."""

        async def has_moved(now: int) -> None:
            await self._moves.record(ChatMigration(destination.chat_id, now))

        limits, is_recorded = self.limits(destination), self.is_recorded_in(destination)
        if self._settings.drafts and destination.is_private:
            return DraftChannel(self.api, destination, limits, self.sightings, asked, is_recorded, self._switch)
        return TelegramChannel(self.api, destination, limits, self.sightings, asked, is_recorded, has_moved)

    async def deliver(
        self,
        destination: Destination,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        asker: str,
        reply_to: str | None,
        channel: TelegramChannel | None = None,
        state_of: str = "",
    ) -> Outcome:
        """Returns when it is certain what became of it."""
        return await self._outboxes.deliver(
            channel or self.channel(destination, reply_to),
            destination.group,
            events,
            reply_to=reply_to,
            record=RecordedIn(self._record, destination.chat),
            asker=asker,
            state_of=state_of,
        )

    async def say(
        self,
        destination: Destination,
        words: Notice,
        *,
        asker: str,
        reply_to: str | None,
        channel: TelegramChannel | None = None,
        state_of: str = "",
    ) -> Outcome:
        """The bot's own words."""
        events = _only(words)
        return await self.deliver(
            destination, events, asker=asker, reply_to=reply_to, channel=channel, state_of=state_of
        )


async def _only(event: ReplyEvent) -> AsyncGenerator[ReplyEvent, None]:
    yield event


async def beginning_with(
    first: ReplyEvent | None, rest: AsyncGenerator[ReplyEvent, None]
) -> AsyncGenerator[ReplyEvent, None]:
    """The events again, of which the first was looked at."""
    async with aclosing(rest):
        if first is not None:
            yield first
        async for event in rest:
            yield event
