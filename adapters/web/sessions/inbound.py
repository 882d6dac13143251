"""What people send, handled for each of them in the order in which it came, and for a bounded number at the same time.

The page shares one event loop with the other platforms. However many people write at the same time, only `_AT_ONCE` of
their messages are being handled, so between two of its steps another platform waits for a few of the page's and not
for a thousand. People take turns, one message each; whoever has been here before today goes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.web.background_tasks import BackgroundTasks

MAX_WAITING = 50
"""For one person; the page sends again what was not accepted, so more than that is nobody's typing."""
_MAX_BYTES = 64 * 1024 * 1024
_AT_ONCE = 4
"""Enough to keep the storage busy, which stores together what comes together."""
_HOLDS_S = 1.0
"""Whoever takes longer (the storage is away) holds nobody else up."""
MOST_IN_HAND = 128
"""Answers under way: each costs time whenever the next call of the channel is chosen."""
_FOR_REGULARS = 16
"""More of them, for people who have been here before today."""
_MOST_PEOPLE = 200
"""Who wait to ask something, and have not been here before today: whoever came behind them would wait for minutes."""

InboundWork = Callable[[], Awaitable[None]]


class InboxFull(Exception):
    """Too much of this person waits already; nothing was taken."""


class Crowded(InboxFull):
    """Too many people wait for their turn; nothing was taken."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    work: InboundWork
    size: int
    asks: bool
    is_regular: bool
    idles: bool

    @property
    def kind(self) -> tuple[bool, bool]:
        return self.asks, self.is_regular


class Inbound:
    """One queue for each person. While the storage is away, what a person sent waits here in its order.

    Args:
        in_hand: how many answers are under way; call `look` when there are fewer.
        most: so many of them at the same time.
        pace_s: seconds between two messages that ask for an answer, of which everybody here is told.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        in_hand: Callable[[], int] = lambda: 0,
        most: int = MOST_IN_HAND,
        pace_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._tasks = tasks
        self._in_hand = in_hand
        self._most = most
        self._pace_s = pace_s
        self._queues: dict[str, deque[_Sent]] = {}
        self._turns: dict[tuple[bool, bool], deque[tuple[int, str]]] = {}
        """Who is next, with a number that orders them, by kind."""
        self._numbered = 0
        self._serving: set[_Sent] = set()
        self._bytes = 0
        self._asked_at = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None

    def put(
        self,
        person: str,
        work: InboundWork,
        size: int = 0,
        *,
        asks: bool = False,
        is_regular: bool = False,
        idles: bool = False,
    ) -> None:
        """Do the work after what this person sent before.

        Args:
            size: roughly the bytes that wait with it.
            asks: it begins an answer.
            is_regular: the person has been here before today, and goes before people who have not.
            idles: it may wait for a long time by itself, and counts for nothing meanwhile.

        Raises:
            Full: if too much of this person waits already.
            Crowded: if too many people wait already.
        """
        waiting = len(self._queues.get(person, ()))
        if waiting >= MAX_WAITING or self._bytes + size > _MAX_BYTES:
            raise InboxFull
        if asks and not waiting and not is_regular and len(self._turns.get((True, False), ())) >= _MOST_PEOPLE:
            raise Crowded
        self._bytes += size
        queue = self._queues.setdefault(person, deque())
        queue.append(_Sent(work, size, asks, is_regular, idles))
        if len(queue) == 1:
            self._line_up(person)
            self.look()

    def look(self) -> None:
        """Begin what may begin now."""
        while len(self._serving) < _AT_ONCE and not self._tasks.is_closing and (person := self._next()) is not None:
            self._serving.add(self._queues[person][0])
            self._tasks.begin(self._serve(person))

    def _line_up(self, person: str) -> None:
        self._numbered += 1
        self._turns.setdefault(self._queues[person][0].kind, deque()).append((self._numbered, person))

    def _next(self) -> str | None:
        kinds = [kind for kind, people in self._turns.items() if people and self._may_begin(*kind)]
        if not kinds:
            return None
        asks, is_regular = kind = min(kinds, key=lambda kind: (not kind[1], self._turns[kind][0]))
        if asks and not is_regular:
            self._asked_at = asyncio.get_running_loop().time()
        return self._turns[kind].popleft()[1]

    def _may_begin(self, asks: bool, is_regular: bool) -> bool:
        if not asks:
            return True
        if self._in_hand() + sum(sent.asks for sent in self._serving) >= self._most + _FOR_REGULARS * is_regular:
            return False
        loop = asyncio.get_running_loop()
        wait_s = self._asked_at + self._pace_s() - loop.time()
        if is_regular or wait_s <= 0:
            return True
        if self._alarm is None:
            self._alarm = loop.call_later(wait_s, self._wake)
        return False

    def _wake(self) -> None:
        self._alarm = None
        self.look()

    async def _serve(self, person: str) -> None:
        queue = self._queues[person]
        sent = queue[0]
        if sent.idles:
            self._let_go(sent)
        alarm = asyncio.get_running_loop().call_later(_HOLDS_S, self._let_go, sent)
        try:
            await sent.work()
        except Exception as error:  # the next one is handled all the same
            self._tasks.faults.say("a message of the page failed", error)
        finally:
            alarm.cancel()
        queue.popleft()
        self._bytes -= sent.size
        if queue:
            self._line_up(person)
        else:
            del self._queues[person]
        self._let_go(sent)

    def _let_go(self, sent: _Sent) -> None:
        self._serving.discard(sent)
        self.look()
