"""Shares the calls of an account among all its chats, by what they are worth."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from adapters.delivery.pacing.call_budget import Priority
from adapters.delivery.pacing.rate_budget import Rate, RateBudget

_KEPT = 4
"""One in so many of the account's calls is left free by previews, for words that are worth more, and by calls for
whoever has had very many, for those of others."""


class CallTicket:
    """A chat's place in the line for one call. `granted` is done when the call may go; then `AccountLimiter.end` it."""

    def __init__(self, priority: Priority, since: float, number: int, *, yields: bool) -> None:
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.priority = priority
        self.since = since
        self.number = number
        self.yields = yields

    @property
    def rank(self) -> tuple[bool, bool, Priority]:
        """What is worth more is smaller."""
        return self.priority is Priority.PREVIEW, self.yields, self.priority


class AccountLimiter:
    """Keeps the calls of an account within its rate; what is worth more goes first, then who has waited for longest.

    Those of whoever has had very many calls lately come behind everybody else's but for previews.
    """

    def __init__(self, rate: Rate) -> None:
        self._budget = RateBudget(rate)
        self._kept = rate.capacity // _KEPT
        self._numbers = count()
        self._waiting: list[tuple[tuple[bool, bool, Priority], float, int, CallTicket]] = []
        self._timer: asyncio.TimerHandle | None = None

    def request(self, priority: Priority, since: float, *, yields: bool = False) -> CallTicket:
        """A place in the line.

        Args:
            since: when this reply was served last, by the loop's clock.
            yields: it is for somebody who has had very many calls lately.
        """
        turn = CallTicket(priority, since, next(self._numbers), yields=yields)
        self._push(turn)
        self._grant()
        return turn

    def raise_to(self, turn: CallTicket, priority: Priority) -> None:
        """The call that waits is worth more now."""
        if priority < turn.priority and not turn.granted.done():
            turn.priority = priority
            self._push(turn)
            self._grant()

    def abandon(self, turn: CallTicket) -> None:
        """The call is not made."""
        if turn.granted.done() and not turn.granted.cancelled():
            self._budget.withdraw()
            self._grant()
        turn.granted.cancel()

    def end(self, now: float) -> None:
        """A call that was granted is over."""
        self._budget.end(now)
        self._grant()

    def begin_spare(self, now: float) -> bool:
        """Whether a call that is worth next to nothing may be made at once; then it has begun."""
        if self._waiting or self._budget.free(now) <= self._budget.rate.capacity // 2:
            return False
        self._budget.begin()
        return True

    def _push(self, turn: CallTicket) -> None:
        heapq.heappush(self._waiting, (turn.rank, turn.since, turn.number, turn))

    def _grant(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            rank, *_, turn = self._waiting[0]
            if turn.granted.done() or rank != turn.rank:
                heapq.heappop(self._waiting)
                continue
            is_behind = turn.yields or turn.priority is Priority.PREVIEW
            needed = 1 + (self._kept if is_behind else 0)
            if self._budget.free(loop.time()) < needed:
                at = self._budget.free_at(needed)
                if at < float("inf"):
                    self._timer = loop.call_at(at, self._grant)
                return
            heapq.heappop(self._waiting)
            self._budget.begin()
            turn.granted.set_result(None)
