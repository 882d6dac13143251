"""What people have asked that is not in their line yet, so that a stop finds it there. No clock, no platform.

Between a platform's receipt of a question and its place in the line there may be a flooded chat, a picture to fetch, or
a moment in which more of the same message may come. A stop waits for none of these.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

_REMEMBERED = 1_000


def _yes() -> bool:
    return True


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Sent:
    """One event of a person, from its receipt until its answer is in the line, or there is nothing left to do for it.

    Args:
        at: when it was sent, or received, in seconds since the epoch; of two at the same time the later number counts.
        asks: whether it asks for an answer; only that is taken back. Called once at most, and only for a stop: to know
            it may take as long as to read the whole event.
        when_taken_back: called once, when a stop takes it back.
        is_stopped: there was a stop, which takes it back if it asks for an answer.
    """

    event_id: str
    chat: str
    person: str
    at: float
    number: int
    asks: Callable[[], bool] = _yes
    when_taken_back: Callable[[], None] = _nothing
    is_stopped: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """It is in the line, or nothing is left to do for it."""

    _is_question: bool | None = None

    @property
    def is_taken_back(self) -> bool:
        return self.is_stopped and self.is_question

    @property
    def is_question(self) -> bool:
        if self._is_question is None:
            self._is_question = self.asks()
        return self._is_question

    @property
    def order(self) -> tuple[float, int]:
        return self.at, self.number


class Coming:
    """The events of all people that are on their way to their lines."""

    def __init__(self) -> None:
        self._numbers = count()
        self._by_person: dict[tuple[str, str], list[Sent]] = {}
        self._by_event: dict[tuple[str, str], Sent] = {}
        self._stops: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """The newest stops, by chat and person."""

    def add(
        self,
        event_id: str,
        chat: str,
        person: str,
        at: float,
        *,
        asks: Callable[[], bool] = _yes,
        when_taken_back: Callable[[], None] = _nothing,
        late: bool = False,
    ) -> Sent:
        """Return the event as one that is on its way. Whoever adds it removes it.

        Args:
            late: stops that were sent after it may have been done already.
        """
        sent = Sent(event_id, chat, person, at, next(self._numbers), asks, when_taken_back)
        stop = self._stops.get((chat, person))
        sent.is_stopped = late and stop is not None and sent.at < stop[0]
        self._by_person.setdefault((chat, person), []).append(sent)
        self._by_event[_platform(chat), event_id] = sent
        return sent

    def find(self, event_id: str, chat: str) -> Sent | None:
        """Return the event of that name, on the platform of that chat."""
        return self._by_event.get((_platform(chat), event_id))

    def remove(self, sent: Sent) -> None:
        """The event is in the line, or nothing is left to do for it. Does nothing the second time."""
        sent.over.set()
        key = sent.chat, sent.person
        line = self._by_person.get(key, [])
        if sent in line:
            line.remove(sent)
            if not line:
                del self._by_person[key]
        if self._by_event.get((_platform(sent.chat), sent.event_id)) is sent:
            del self._by_event[_platform(sent.chat), sent.event_id]

    async def take_back(self, stop: Sent) -> Sequence[Sent]:
        """Take back all that the person has asked in that chat before they sent `stop`; returns what that was.

        From the call on nothing of it is answered. There may be a thousand events to be read for that, so others get
        their turn after each.
        """
        key = stop.chat, stop.person
        self._stops[key] = max(stop.order, self._stops.pop(key, stop.order))
        if len(self._stops) > _REMEMBERED:
            self._stops.popitem(last=False)
        line = self._by_person.get(key, ())
        stopped = [each for each in line if each.order < stop.order and not each.is_stopped]
        for each in stopped:
            each.is_stopped = True
        found = []
        for each in stopped:
            if each.is_taken_back:
                found.append(each)
                each.when_taken_back()
            await asyncio.sleep(0)
        return found


def _platform(chat: str) -> str:
    return chat.partition(":")[0]
