"""What one person writes right after each other is one question."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from adapters.discord.inbound.event_handler import DiscordEventHandler
from adapters.discord.inbound.events import DiscordEvent
from bots.commands.registry import read

_JITTER_S = 1.0
"""Messages may arrive so much closer to each other than they were written."""
_EPOCH_BITS = 22
"""Of a message's id; what is above them are milliseconds."""


@dataclass(slots=True, eq=False)
class _Burst:
    events: list[DiscordEvent] = field(default_factory=list)
    ends_at: float = 0.0


class MessageAggregator:
    """Records messages and answers them, those of one burst together.

    Every message is kept with the one that it follows, so that after a crash they are the same question again.
    """

    def __init__(self, answers: DiscordEventHandler, together_s: float) -> None:
        self._answers, self._together_s = answers, together_s
        self._open: dict[tuple[str, str], _Burst] = {}
        """By channel and author."""
        self._lines: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def line(self, channel: str, author: str) -> asyncio.Lock:
        """Held while one message is looked at and recorded, so that the next one is looked at after that."""
        return self._lines.setdefault((channel, author), asyncio.Lock())

    def goes_on(self, channel: str, author: str, message_id: str) -> bool:
        """Whether this message of theirs belongs to what they have just written there."""
        burst = self._open.get((channel, author))
        return burst is not None and self._is_near(message_id, burst)

    async def take(self, event: DiscordEvent) -> bool:
        """Records the event, in its line; False for one that was here before. A command waits for nothing to follow."""
        if self._together_s and read(event.text) is None:
            return await self._add(event)
        if new := await self._answers.record(event):
            self._answers.answer([event])
        return new

    async def _add(self, event: DiscordEvent) -> bool:
        burst, event = self._joined(event)
        new = False
        try:
            new = await self._answers.record(event)
        finally:
            if not new:
                burst.events.remove(event)
        return new

    def _joined(self, event: DiscordEvent) -> tuple[_Burst, DiscordEvent]:
        key = event.above if event.opens else event.channel, event.author
        burst = self._open.get(key)
        if burst is not None and self._is_near(event.id, burst):
            event = replace(event, follows=burst.events[-1].id)
        else:
            burst = self._open[key] = _Burst()
            self._answers.begin(self._close(key, burst))
        burst.events.append(event)
        burst.ends_at = asyncio.get_running_loop().time() + self._together_s
        return burst, event

    def _is_near(self, message_id: str, burst: _Burst) -> bool:
        """What is read from a channel's history arrives at once and may have been written hours apart."""
        if not burst.events:
            return False
        return abs(_written_s(message_id) - _written_s(burst.events[-1].id)) < self._together_s + _JITTER_S

    async def _close(self, key: tuple[str, str], burst: _Burst) -> None:
        """Waits until nothing more has come for long enough and all of it is recorded, and answers."""
        while True:
            async with self.line(*key):
                left_s = burst.ends_at - asyncio.get_running_loop().time()
                if left_s <= 0 and self._open.get(key) is burst:
                    del self._open[key]
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        if burst.events:
            self._answers.answer(burst.events)


def _written_s(message_id: str) -> float:
    return (int(message_id) >> _EPOCH_BITS) / 1000
