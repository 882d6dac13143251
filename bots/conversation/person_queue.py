"""What is taken on at all, and the line of one person's messages in one chat. No clock, no platform."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from bots import wording
from bots.messages import Incoming

MAX_CHARACTERS = 1_000_000
MAX_PICTURES = 10
MAX_LINE = 5
_REMEMBERED_EVENTS = 10_000


def refusal(incoming: Incoming) -> str | None:
    """Why this message is not taken on, as one sentence; None when it is."""
    if not incoming.text.strip() and not incoming.pictures:
        return wording.empty_message()
    if len(incoming.text) > MAX_CHARACTERS:
        return wording.long_message(len(incoming.text), MAX_CHARACTERS)
    if len(incoming.pictures) > MAX_PICTURES:
        return wording.too_many_pictures(len(incoming.pictures), MAX_PICTURES)
    return None


class SeenEvents:
    """The newest events of this process, so that one delivered twice is answered once."""

    def __init__(self, size: int = _REMEMBERED_EVENTS) -> None:
        self._size = size
        self._events: OrderedDict[tuple[str, str], None] = OrderedDict()

    def before(self, incoming: Incoming) -> bool:
        """Whether this event was here before; from now on it was."""
        key = incoming.chat, incoming.event_id
        if key in self._events:
            return True
        self._events[key] = None
        if len(self._events) > self._size:
            self._events.popitem(last=False)
        return False

    def forget(self, incoming: Incoming) -> None:
        """The event was given up before its reply was whole; it may come again."""
        self._events.pop((incoming.chat, incoming.event_id), None)


@dataclass(slots=True, eq=False)
class QueueEntry:
    """One answer's place in its person's line. `turn` is set when it is the first, or when it was stopped."""

    answer_id: str
    chat: str
    person: str
    request_id: str
    group: str = ""
    sent_in: str = ""
    """The chat in which it was asked, where the answer goes to another one, such as a thread."""
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    pending: asyncio.Task[Any] | None = None
    """What is done for the answer, and nobody needs when it is stopped."""

    def stop(self) -> None:
        self.stopped = True
        self.turn.set()
        if self.pending is not None:
            self.pending.cancel()


class PersonQueues:
    """A conversation is a sequence: one person's messages in one chat are answered one after the other."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], deque[QueueEntry]] = {}
        self._doors: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def door(self, incoming: Incoming) -> asyncio.Lock:
        """Held until a message has its place: they line up as they came, however long the storage takes for each."""
        return self._doors.setdefault((incoming.chat, incoming.author.id), asyncio.Lock())

    def join(self, place: QueueEntry) -> int:
        """How many are before it; 0 means that it is this one's turn."""
        line = self._lines.setdefault((place.chat, place.person), deque())
        line.append(place)
        line[0].turn.set()
        return len(line) - 1

    def leave(self, place: QueueEntry) -> None:
        key = place.chat, place.person
        line = self._lines[key]
        line.remove(place)
        if line:
            line[0].turn.set()
        else:
            del self._lines[key]

    def of(self, chat: str, person: str) -> list[QueueEntry]:
        return list(self._lines.get((chat, person), ()))

    def asked_in(self, chat: str, person: str) -> list[QueueEntry]:
        """The places of this person's that were asked for in the chat, wherever the answers go."""
        places = (place for line in self._lines.values() for place in line if place.person == person)
        return [place for place in places if chat in (place.chat, place.sent_in)]

    def find(self, answer_id: str) -> QueueEntry | None:
        return next((p for line in self._lines.values() for p in line if p.answer_id == answer_id), None)
