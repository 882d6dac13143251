"""Who is served, what is taken on at all, and the line of one person's messages in one chat. No clock, no platform."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

from bots import wording
from bots.commands import read
from bots.messages import Incoming
from bots.preferences import Refused

MAX_CHARACTERS = 1_000_000
MAX_PICTURES = 10
MAX_LINE = 5
_REMEMBERED_EVENTS = 10_000
_REMEMBERED_PEOPLE = 10_000
_MINUTE_S = 60.0


def refusal(incoming: Incoming) -> str | None:
    """Why this message is not taken on, as one sentence; None when it is."""
    if not incoming.text.strip() and not incoming.pictures:
        return wording.empty_message()
    if len(incoming.text) > MAX_CHARACTERS:
        return wording.long_message(len(incoming.text), MAX_CHARACTERS)
    if len(incoming.pictures) > MAX_PICTURES:
        return wording.too_many_pictures(len(incoming.pictures), MAX_PICTURES)
    return None


class Seen:
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


class Unheard(Exception):
    """Silence is the answer: to a stranger where the operator wants it so, and to a flood that was warned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The operator's word on who is served.

    Args:
        owners: ids of people who are always served, at any rate ("telegram:4711").
        allowed_users: ids of people who are no strangers.
        allowed_chats: chats in which nobody is a stranger ("telegram:-1001234", topics included).
        strangers: whether everybody else is answered, refused with a sentence, or ignored; "auto" refuses them in
            direct messages as soon as there are owners or allowed users, and answers them where others are.
        requests_per_minute: of one person, over all chats; 0 for any number.
    """

    owners: Collection[str] = ()
    allowed_users: Collection[str] = ()
    allowed_chats: Collection[str] = ()
    strangers: Literal["auto", "answer", "refuse", "ignore"] = "auto"
    requests_per_minute: int = 0

    def is_stranger(self, incoming: Incoming) -> bool:
        person = incoming.author.id
        if self._lets_in(incoming) or person in self.owners or person in self.allowed_users:
            return False
        names = incoming.chat, *incoming.places
        return not any(_is_in(name, chat) for name in names for chat in self.allowed_chats)

    def _lets_in(self, incoming: Incoming) -> bool:
        if self.strangers == "auto":
            return not (incoming.direct and (self.owners or self.allowed_users))
        return self.strangers == "answer"


def _is_in(chat: str, allowed: str) -> bool:
    """Whether the chat is the allowed one, or a topic or thread of it, whatever account of the bot is in it."""
    platform, *parts = chat.split(":")
    allowed_platform, _, name = allowed.partition(":")
    return chat == allowed or (platform == allowed_platform and name in parts)


class Admission:
    """Lets people in: by the operator's lists, then by the rate of their requests."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rates: OrderedDict[str, _Rate] = OrderedDict()

    def is_stranger(self, incoming: Incoming) -> bool:
        return self._access.is_stranger(incoming)

    def check(self, incoming: Incoming, now: float) -> None:
        """Takes one request of this person into account.

        Args:
            now: seconds of any clock that does not go back.

        Raises:
            Refused: not served, with the sentence that says why.
            Unheard: not served, and not a word.
        """
        person = incoming.author.id
        if self._access.is_stranger(incoming):
            if self._access.strangers == "ignore":
                raise Unheard
            raise Refused(wording.for_members_only(person))
        called = read(incoming.text)
        free = person in self._access.owners or (called is not None and called.name == "stop")
        if self._access.requests_per_minute and not free:
            self._rate_of(person).count(now, self._access.requests_per_minute)

    def _rate_of(self, person: str) -> _Rate:
        rate = self._rates.setdefault(person, _Rate())
        self._rates.move_to_end(person)
        if len(self._rates) > _REMEMBERED_PEOPLE:
            self._rates.popitem(last=False)
        return rate


class _Rate:
    """One person's requests of the last minute; who goes on beyond the limit is told so once."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._told = False

    def count(self, now: float, limit: int) -> None:
        # A clock that was set back must not lock anybody out until it is where it was.
        while self._times and not now - _MINUTE_S < self._times[0] <= now:
            self._times.popleft()
        if len(self._times) < limit:
            self._times.append(now)
            self._told = False
        elif self._told:
            raise Unheard
        else:
            self._told = True
            raise Refused(wording.too_fast(limit, self._times[0] + _MINUTE_S - now))


@dataclass(slots=True, eq=False)
class Place:
    """One answer's place in its person's line. `turn` is set when it is the first, or when it was stopped."""

    answer_id: str
    chat: str
    person: str
    request_id: str
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    pending: asyncio.Task[Any] | None = None
    """What is done for the answer, and nobody needs when it is stopped."""

    def stop(self) -> None:
        self.stopped = True
        self.turn.set()
        if self.pending is not None:
            self.pending.cancel()


class Lines:
    """A conversation is a sequence: one person's messages in one chat are answered one after the other."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], deque[Place]] = {}
        self._doors: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def door(self, incoming: Incoming) -> asyncio.Lock:
        """Held until a message has its place: they line up as they came, however long the storage takes for each."""
        return self._doors.setdefault((incoming.chat, incoming.author.id), asyncio.Lock())

    def join(self, place: Place) -> int:
        """How many are before it; 0 means that it is this one's turn."""
        line = self._lines.setdefault((place.chat, place.person), deque())
        line.append(place)
        line[0].turn.set()
        return len(line) - 1

    def leave(self, place: Place) -> None:
        key = place.chat, place.person
        line = self._lines[key]
        line.remove(place)
        if line:
            line[0].turn.set()
        else:
            del self._lines[key]

    def of(self, chat: str, person: str) -> list[Place]:
        return list(self._lines.get((chat, person), ()))

    def find(self, answer_id: str) -> Place | None:
        return next((p for line in self._lines.values() for p in line if p.answer_id == answer_id), None)
