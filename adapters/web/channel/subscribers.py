"""The open sockets and what each of them still has to be told.

A socket that reads slowly gets a bounded backlog: what is newer about the same thing replaces what waits. One that
falls behind even so is closed; the page comes back by itself and begins with the whole state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice

from aiohttp import web

from adapters.web.channel import protocol
from adapters.web.channel.deltas import View
from adapters.web.posts.private_files import PrivateFiles
from adapters.web.repeated_faults import RepeatedFaults

_log = logging.getLogger(__name__)

_MAX_BACKLOG = 1000
_MAX_BACKLOG_CHARACTERS = 8_000_000
"""Ten times the longest post."""
_LISTED_PEOPLE = 500
PRESENCE_EVERY_S = 1.0
"""How often those who are here are counted for everybody: however many come and go, each page hears it once."""
_CROWD = 50
"""More sockets than this hear of what is not their own at intervals."""
_PACE_S = 0.0025
"""For each of them. To tell a thousand people of ten posts takes about a second, so they hear of them every 2.5 s."""
_AT_ONCE = 10
_REST = 3.0
"""After a telling that took long, a crowd hears no more for so many times as long."""
_ASKS_S = 0.0001
"""Between two messages that everybody is told of, for each person in a crowd: a thousand are told of ten a second."""
_BATCH_CHARACTERS = 12_000
"""More than 16 KiB would be compressed in a thread, which costs more than the compressing."""
_FRAME_S = 0.0002
"""For each person in a crowd, between two frames to one that takes no batches: they are four times what is in them."""
_MAX_STATES = 32
"""Answers that grow at the same time, and those that get their colours next."""
_MAX_KEPT_NOTICES = 20
_MAX_ABSENT = 200


class Subscriber:
    """One socket of one person. `tell` never waits; `pump` writes in the order of first telling.

    Args:
        address: where the person's requests come from.
        deltas: the page can make a new state of a post of the one that it has.
        batches: it takes several messages in one.
        is_regular: the person has been here before today, and had an answer then.
    """

    def __init__(
        self,
        person: str,
        address: str = "",
        *,
        deltas: bool = False,
        batches: bool = False,
        is_regular: bool = False,
    ) -> None:
        self.person = person
        self.address = address
        self.is_regular = is_regular
        self.frame_s: Callable[[], float] = lambda: 0.0
        """Seconds for each frame, if it takes no batches."""
        self.greeted = asyncio.Event()
        """The first message is on its way."""
        self._deltas = deltas
        self._batches = batches
        self._has: dict[str, View] = {}
        """The newest posts as this socket was told of them, for the next delta."""
        self._backlog: dict[str, str | View] = {}
        self._news = asyncio.Event()
        self._characters = 0
        self._unnamed = 0
        self.overrun = False

    def has(self, views: Iterable[View]) -> None:
        """It was told all of these."""
        for view in views:
            self._keep(view)

    def _keep(self, view: View) -> None:
        if self._deltas:
            self._has.pop(view.id, None)
            self._has[view.id] = view
            if len(self._has) > _MAX_STATES:
                del self._has[next(iter(self._has))]

    def tell(self, key: str, message: str | View) -> None:
        """Queues the message; one that waits under the same key is replaced. An empty key is never replaced."""
        if not key:
            self._unnamed += 1
            key = f"#{self._unnamed}"
        if key not in self._backlog and len(self._backlog) >= _MAX_BACKLOG:
            self.overrun = True
        else:
            self._characters += len(message) - len(self._backlog.get(key, ""))
            self._backlog[key] = message
            # The first message may be as long as it is.
            self.overrun |= self._characters > _MAX_BACKLOG_CHARACTERS and len(self._backlog) > 1
        self._news.set()

    def _taken(self, key: str) -> str:
        message = self._backlog.pop(key)
        self._characters -= len(message)
        if isinstance(message, str):
            self._has.pop(key, None)  # it was removed
            return message
        base = self._has.get(message.id)
        self._keep(message)
        return message.whole() if base is None else message.since(base)

    def _next(self) -> str:
        """The oldest message, or several in one: to a crowd, each frame costs more than what is in it."""
        first = self._taken(next(iter(self._backlog)))
        if not self._batches or not self._backlog:
            return first
        taken, characters = [first], len(first)
        while self._backlog and characters < _BATCH_CHARACTERS:
            taken.append(self._taken(next(iter(self._backlog))))
            characters += len(taken[-1])
        return protocol.batch(taken) if len(taken) > 1 else first

    async def pump(self, socket: web.WebSocketResponse) -> None:
        """Writes until the socket is gone."""
        while not socket.closed and not self.overrun:
            await self._news.wait()
            self._news.clear()
            while self._backlog and not self.overrun:
                for _ in range(_AT_ONCE):
                    try:
                        await socket.send_str(self._next())
                    except ConnectionError:
                        return
                    self.greeted.set()
                    if not self._backlog or self.overrun:
                        break
                else:
                    # Others have a turn.
                    await asyncio.sleep(0 if self._batches else _AT_ONCE * self.frame_s())
        await socket.close(code=1013, message=b"too slow")


class Subscribers:
    """Everybody who has the page open."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Subscriber]] = {}
        self._names: dict[str, str] = {}
        self._missed: dict[str, list[str]] = {}
        self._moved = asyncio.Event()
        self._held: dict[str, tuple[str | View, Collection[str]]] = {}
        """What a crowd is still to be told, and whom it is about."""
        self._has_held = asyncio.Event()
        self._is_telling = False
        self._faults = RepeatedFaults(_log)
        self.handouts = PrivateFiles()

        self._sockets = 0
        """How many listeners there are: one person may have many."""

    def __contains__(self, person: object) -> bool:
        return person in self._listeners

    def __iter__(self) -> Iterator[Subscriber]:
        return (each for listeners in self._listeners.values() for each in listeners)

    def is_regular(self, person: str) -> bool:
        """Whether the person is here now, and has been here before today."""
        return any(listener.is_regular for listener in self._listeners.get(person, ()))

    def name_of(self, person: str) -> str:
        return self._names.get(person, "")

    def join(self, listener: Subscriber, name: str) -> None:
        """From now on it is told everything."""
        self._listeners.setdefault(listener.person, []).append(listener)
        listener.frame_s = partial(self._for_each, _FRAME_S)
        self._sockets += 1
        self._names[listener.person] = name
        self._moved.set()

    def hand_over(self, listener: Subscriber) -> None:
        """Tells the private words that came while the person was away."""
        for notice in self._missed.pop(listener.person, ()):
            self._tell(listener, "", notice)

    def leave(self, listener: Subscriber) -> None:
        all_of_them = self._listeners.get(listener.person, [])
        rest = [each for each in all_of_them if each is not listener]
        self._sockets -= len(all_of_them) - len(rest)
        if rest:
            self._listeners[listener.person] = rest
            return
        self._listeners.pop(listener.person, None)
        self._names.pop(listener.person, None)
        self._moved.set()

    def forget(self, person: str) -> None:
        """Drops the words and files that wait for this person."""
        self._missed.pop(person, None)
        self.handouts.forget(person)

    def rename(self, person: str, name: str) -> None:
        if person not in self:  # gone meanwhile, and nobody's to be listed
            return
        self._names[person] = name
        self.tell(person, "name", protocol.name(name))
        self._moved.set()

    def broadcast(self, key: str, message: str | View, people: Collection[str] = ()) -> None:
        """Tell everybody; a crowd hears it a moment later, and of what is new by then about the same thing the newest.

        Args:
            people: whom it is about, who hear it at once.
        """
        if self._sockets <= _CROWD and not self._held and not self._is_telling:
            self._tell_all(key, message)
            return
        for person in people:
            self.tell(person, key, message)
        self._held.pop(key, None)
        self._held[key] = message, people
        self._has_held.set()

    def _tell_all(self, key: str, message: str | View) -> None:
        for listener in self:
            self._tell(listener, key, message)

    def _tell(self, listener: Subscriber, key: str, message: str | View) -> None:
        """The edge of one message: what cannot be told costs neither other sockets nor other messages anything."""
        try:
            listener.tell(key, message)
        except Exception as error:
            self._faults.say("a page was not told something", error)

    async def tell_crowd(self) -> None:
        """Tells a crowd what has been held, as often as costs the same however many are here; until it is cancelled."""
        loop, took_s = asyncio.get_running_loop(), 0.0
        while True:
            await self._has_held.wait()
            await asyncio.sleep(max(self._for_each(_PACE_S), _REST * took_s))
            self._has_held.clear()
            began, held, self._held = loop.time(), self._held, {}
            self._is_telling = True
            try:
                await self._tell_each(held)
            finally:
                self._is_telling = False
            took_s = loop.time() - began

    async def _tell_each(self, held: Mapping[str, tuple[str | View, Collection[str]]]) -> None:
        for number, listener in enumerate(list(self)):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # others have a turn
            for key, (message, people) in held.items():
                if listener.person not in people:
                    self._tell(listener, key, message)

    def tell(self, person: str, key: str, message: str | View) -> None:
        for listener in self._listeners.get(person, ()):
            self._tell(listener, key, message)

    def tell_surely(self, person: str, key: str, message: str) -> None:
        """As `tell`, and somebody who is away (reconnecting) gets it on the next visit; the latest few are kept."""
        if person in self:
            self.tell(person, key, message)
            return
        kept = self._missed.pop(person, [])
        self._missed[person] = [*kept, message][-_MAX_KEPT_NOTICES:]
        if len(self._missed) > _MAX_ABSENT:
            del self._missed[next(iter(self._missed))]

    @property
    def pace_s(self) -> float:
        """Seconds between two messages that everybody is to be told of."""
        return self._for_each(_ASKS_S)

    def _for_each(self, seconds: float) -> float:
        """So much for each person beyond those who are no crowd."""
        return max(0, self._sockets - _CROWD) * seconds

    @property
    def count(self) -> int:
        """How many people are here."""
        return len(self._names)

    def people(self) -> str:
        """The message about who is here; of very many the first."""
        first = islice(self._names.items(), _LISTED_PEOPLE)
        return protocol.people([{"id": person, "name": name} for person, name in first], self.count)

    async def tell_presence(self) -> None:
        """Tells everybody how many are here whenever that has changed, until it is cancelled."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            self.broadcast("presence", protocol.presence(self.count))
            await asyncio.sleep(PRESENCE_EVERY_S)
