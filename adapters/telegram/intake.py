"""Updates on their way in: recorded first, then handled side by side, a bounded number of them at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from adapters.telegram.addresses import Destination, person_id
from bots.ledger import left_behind
from bots.ports import Inbox, Received

KINDS = ("message", "edited_message", "channel_post", "edited_channel_post", "callback_query")
_AT_ONCE = 1_000
"""Updates in work; with more, the next batch is not asked for until some are answered."""


class Handle(Protocol):
    def __call__(self, event: Received, *, new: bool) -> Awaitable[None]: ...


class Intake:
    """Takes batches of updates for one bot.

    Args:
        now: seconds since the epoch.
    """

    def __init__(
        self,
        inbox: Inbox,
        bot_id: int,
        handle: Handle,
        tasks: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._inbox = inbox
        self._bot_id = bot_id
        self._handle = handle
        self._tasks = tasks
        self._now = now
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def take(self, updates: Sequence[Mapping[str, Any]]) -> None:
        """Returns when the updates are recorded, so that they may be confirmed. Raises StorageError."""
        events = [received(update, self._bot_id, self._now()) for update in updates]
        for event in await self._inbox.receive(events):
            await self._begin(event, new=True)

    async def take_up(self) -> None:
        """Begins what processes that died have recorded and not answered, until it is cancelled."""
        async with aclosing(left_behind(self._inbox, Destination(self._bot_id, 0).account)) as batches:
            async for batch in batches:
                for event in batch:
                    await self._begin(event, new=False)

    async def _begin(self, event: Received, *, new: bool) -> None:
        await self._places.acquire()
        self._tasks.create_task(self._handled(event, new))

    async def _handled(self, event: Received, new: bool) -> None:
        try:
            await self._handle(event, new=new)
        finally:
            self._places.release()


def received(update: Mapping[str, Any], bot_id: int, now: float) -> Received:
    """The update as it is kept.

    Telegram begins anew with its numbers after a quiet week, so the id holds more than the number.
    """
    body: Mapping[str, Any] = next((update[kind] for kind in KINDS if isinstance(update.get(kind), dict)), {})
    message = body.get("message") or body
    chat, thread = message.get("chat") or {}, message.get("message_thread_id")
    topic = thread if message.get("is_topic_message") else None
    destination = Destination(bot_id, int(chat.get("id", 0)), topic)
    author = body.get("sender_chat") or body.get("from") or chat
    stamp = body.get("edit_date") or body.get("date") or body.get("id") or 0
    return Received(
        account=destination.account,
        id=f"{update['update_id']}-{stamp}",
        chat=destination.chat,
        payload=json.dumps(update, ensure_ascii=False),
        received_at=now,
        person=person_id(int(author.get("id", 0))),
    )
