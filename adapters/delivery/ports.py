"""What a platform asks of the bot and of the delivery, as protocols: tests put others in their places."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from adapters.delivery.channel import Channel
from adapters.delivery.outcome import Outcome
from bots.access.gate import Call
from bots.conversation.coming import Coming
from bots.messages import Incoming, Permit, ReplyEvent
from bots.ports import Deliveries


class Responder(Protocol):
    """The bot, as a platform sees it."""

    @property
    def coming(self) -> Coming:
        """Where a platform notes what it has received, in order, before it does anything for it."""
        ...

    def respond(self, incoming: Incoming) -> AsyncGenerator[ReplyEvent, None]: ...

    async def is_known(self, person: str) -> bool:
        """Whether the person has had an answer on an earlier day, or was named by the operator."""
        ...

    async def enter(self, call: Call) -> Permit:
        """Let somebody do something that is done before `respond`, or without it.

        Raises:
            Refused, Unheard: it must not be done.
        """
        ...


class DeliveryPort(Protocol):
    """The delivery: paces, splits and renders the events into messages of the channel."""

    async def deliver(
        self,
        channel: Channel,
        chat: str,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        reply_to: str | None,
        record: Deliveries,
        asker: str = "",
        party: str = "",
        state_of: str = "",
    ) -> Outcome:
        """Closes `events` in any case."""
        ...
