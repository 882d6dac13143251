"""How many updates of one chat are in work: what others leave free decides. Pure.

A chat may hold at most half as many places as are free. However many chats are flooded at once, some stay free for the
others, and none is kept empty for nothing. (A. K. Choudhury, E. L. Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking 6 (2), 1998.)
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
_SHARE = 0.5
_FEW_WAIT = 20
"""So many of a chat may wait as long as there is any place: after an outage the places of all are nearly full."""


class _Pool:
    """Places of which each chat has some."""

    def __init__(self, size: int, least: int = 1) -> None:
        self._least = least
        self._free = size
        self._held: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return self._free <= 0

    def has_room(self, chat: str) -> bool:
        return self._free > 0 and self._held[chat] < max(self._least, _SHARE * self._free)

    def take(self, chat: str) -> None:
        self._free -= 1
        self._held[chat] += 1

    def leave(self, chat: str) -> None:
        self._free += 1
        self._held[chat] -= 1
        if not self._held[chat]:
            del self._held[chat]


class ChatPlaces(Generic[T]):
    """Updates in work, and those that wait until others of their chat are done, in order.

    Args:
        at_once: how many are in work.
        waiting: how many wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._work = _Pool(at_once)
        self._queue = _Pool(waiting, _FEW_WAIT)
        self._waiting: dict[str, deque[T]] = {}

    @property
    def is_full(self) -> bool:
        """Nothing more may be offered for now, whatever chat it is of."""
        return self._queue.is_full

    def offer(self, chat: str, update: T) -> Literal["begin", "wait", "drop"]:
        """What is to be done with an update; `drop`: its chat has more in work and waiting than it may."""
        if chat not in self._waiting and self._work.has_room(chat):
            self._work.take(chat)
            return "begin"
        if not self._queue.has_room(chat):
            return "drop"
        self._queue.take(chat)
        self._waiting.setdefault(chat, deque()).append(update)
        return "wait"

    def withdraw(self, chat: str, update: T) -> bool:
        """Take an update out of those that wait; returns whether it was there."""
        line = self._waiting.get(chat)
        if line is None or update not in line:
            return False
        line.remove(update)
        self._queue.leave(chat)
        if not line:
            del self._waiting[chat]
        return True

    def done(self, chat: str) -> Iterator[T]:
        """An update of that chat is done; yields those that begin in its place, the chats in turn."""
        self._work.leave(chat)
        while (following := next(filter(self._work.has_room, self._waiting), None)) is not None:
            line = self._waiting.pop(following)
            self._queue.leave(following)
            self._work.take(following)
            yield line.popleft()
            if line:
                self._waiting[following] = line  # behind the others
