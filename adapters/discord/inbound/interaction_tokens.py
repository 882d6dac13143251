"""The tokens of interactions: secrets, so they are kept apart from the events, and no longer than they serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from adapters.discord.inbound.events import DiscordEvent
from adapters.discord.outbound.interaction_channel import LIFETIME_S
from bots.ports import Inbox, Received, StorageError

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 30.0
_SUFFIX = "/token"


class InteractionTokens:
    """Kept in the inbox, each under an id of its own."""

    def __init__(self, inbox: Inbox, now: Callable[[], float]) -> None:
        self._inbox, self._now = inbox, now
        self._kept: dict[str, tuple[str, float]] = {}
        """By the event's id, oldest first: its account, and since when its token is kept."""

    def apart(self, event: DiscordEvent, received: Received) -> list[Received]:
        """The event as it is kept, and its token beside it."""
        if event.token is None or not event.token.value:
            return [received]
        self._kept[event.id] = received.account, received.received_at
        return [received, replace(received, id=event.id + _SUFFIX, payload=event.token.value)]

    async def recover(self, found: Mapping[str, Received], busy: Collection[str]) -> None:
        """Goes on keeping what an earlier process kept; forgets what is over or belongs to no event (any more).

        Args:
            found: what was left unanswered, by id.
            busy: events that this process has already.
        """
        for row in found.values():
            event_id = row.id.removesuffix(_SUFFIX)
            if event_id != row.id and event_id not in busy:
                self._kept[event_id] = row.account, row.received_at
                if event_id not in found or self._is_over(row.received_at):
                    await self.forget(event_id)

    def joined(self, event: DiscordEvent, found: Mapping[str, Received]) -> DiscordEvent:
        """The event with its token, if that is among what was found and still good for something."""
        row = found.get(event.id + _SUFFIX)
        if event.token is None or row is None or event.id not in self._kept:
            return event
        return replace(event, token=replace(event.token, value=row.payload))

    async def forget(self, event_id: str) -> None:
        if (kept := self._kept.get(event_id)) is not None:
            await self._inbox.answered(kept[0], event_id + _SUFFIX)
            self._kept.pop(event_id, None)

    async def forget_old(self) -> None:
        """Forgets those that no longer serve, though their events wait or are being answered."""
        for event_id, (_, since) in list(self._kept.items()):
            if self._is_over(since):
                await self.forget(event_id)

    async def keep_forgetting(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self.forget_old()
            except Exception as error:  # whatever it is: a secret is not kept for ever
                known = isinstance(error, StorageError)
                log.warning("tokens of interactions cannot be forgotten just now: %s", error, exc_info=not known)

    def _is_over(self, since: float) -> bool:
        return self._now() - since >= LIFETIME_S


def events_of(found: Sequence[Received]) -> list[Received]:
    """Without the tokens."""
    return [received for received in found if not received.id.endswith(_SUFFIX)]
